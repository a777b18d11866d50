/** Writes `schema/workflow.schema.json`: `npm run schema`. */
import { writeFileSync } from "node:fs";
import { workflowSchema } from "../src/document/mod.ts";

const file = new URL("workflow.schema.json", import.meta.url);
writeFileSync(file, `${JSON.stringify(workflowSchema(), undefined, 2)}\n`);
