// Placeholder of the frame.
import { html } from "../ui.js";

export default function Alerts() {
  return html`<h1>Alerts</h1>`;
}
