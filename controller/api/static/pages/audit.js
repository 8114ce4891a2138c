// Placeholder of the frame.
import { html } from "../ui.js";

export default function Audit() {
  return html`<h1>Audit</h1>`;
}
