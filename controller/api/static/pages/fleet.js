// Placeholder of the frame.
import { html } from "../ui.js";

export default function Fleet() {
  return html`<h1>Fleet</h1>`;
}
