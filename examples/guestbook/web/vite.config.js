import vue from "@vitejs/plugin-vue";
import { defineConfig } from "vite";

// The object form keeps the browser's Host header, which Django compares with the Origin of a POST.
const api = { target: "http://127.0.0.1:8000" };
const paths = ["/api", "/media", "/static", "/admin", "/guestbook"];

export default defineConfig({
  plugins: [vue()],
  // On a server nginx does this; here it serves both "npm run dev" and "npm run preview".
  server: { proxy: Object.fromEntries(paths.map((path) => [path, api])) },
});
