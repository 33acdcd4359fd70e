// @ts-check
/** A request as a command of a shell. Pure. */

/**
 * @param {string} path  of the endpoint @param {string | null} body  null where it is not kept
 * @param {string} requestId
 */
export function curl(path, body, requestId) {
  return [
    `curl -sS "$GATEWAY"${quoted(path)}`,
    "-H 'content-type: application/json'",
    `-H ${quoted(`x-request-id: ${requestId}-again`)}`,
    body === null ? "--data-binary @request.json" : `--data-raw ${quoted(body)}`,
  ].join(" \\\n  ");
}

/** For a POSIX shell: nothing within means anything. @param {string} text */
export function quoted(text) {
  return `'${text.replaceAll("'", "'\\''")}'`;
}
