import { createRouter, createWebHistory } from "vue-router";

import EntryList from "./pages/EntryList.vue";
import EntryPage from "./pages/EntryPage.vue";
import NotFound from "./pages/NotFound.vue";
import WritePage from "./pages/WritePage.vue";

export const router = createRouter({
  history: createWebHistory(),
  routes: [
    { path: "/", component: EntryList },
    { path: "/entry/:id(\\d+)", component: EntryPage, props: true },
    { path: "/write", component: WritePage },
    { path: "/:rest(.*)*", component: NotFound },
  ],
});
