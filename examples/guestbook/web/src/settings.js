// What a deployment may change without a new build: /settings.json, read once before the app is mounted.
export const settings = { apiBase: "/api", title: "Guestbook", version: "unknown" };

export async function loadSettings() {
  try {
    const response = await fetch("/settings.json", { cache: "no-cache" });
    // A missing file may well be answered with index.html; that is no JSON either, so the defaults stay.
    if (response.ok) Object.assign(settings, await response.json());
  } catch (error) {
    console.warn("No usable /settings.json, using the defaults:", error.message);
  }
}
