// Placeholder of the frame.
import { html } from "../ui.js";

export default function Device() {
  return html`<h1>Device</h1>`;
}
