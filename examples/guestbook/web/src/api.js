import { settings } from "./settings.js";

async function request(path, options) {
  const response = await fetch(settings.apiBase.replace(/\/$/, "") + path, options);
  const isJson = response.headers.get("Content-Type")?.startsWith("application/json");
  const body = isJson ? await response.json() : null;
  if (response.ok && isJson) return body;
  const details = Object.values(body?.errors ?? {}).flat().join(" ");
  throw new Error(details || `The server answered ${response.status} ${response.statusText}`.trim());
}

export const listEntries = () => request("/entries/");
export const getEntry = (id) => request(`/entries/${id}/`);

export async function addEntry(formData) {
  const { csrfToken } = await request("/csrf/");
  return request("/entries/", { method: "POST", body: formData, headers: { "X-CSRFToken": csrfToken } });
}
