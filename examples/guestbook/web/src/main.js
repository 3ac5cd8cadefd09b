import { createApp } from "vue";

import App from "./App.vue";
import { router } from "./router.js";
import { loadSettings, settings } from "./settings.js";
import "./style.css";

await loadSettings();
document.title = settings.title;
createApp(App).use(router).mount("#app");
