/** A description of the API (OpenAPI 3.1). */
export function openApi(): unknown {
  return { openapi: "3.1.0", info: { title: "Atalanta", version: "1" }, paths: {} };
}
