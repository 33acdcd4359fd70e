// @ts-check
/** The console: one page, begun here. */

import { Frame } from "./page/frame.js";
import { theme, wear } from "./page/theme.js";

wear(theme());
new Frame(document.body).begin();
