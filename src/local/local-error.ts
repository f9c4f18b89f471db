/** A problem that one line explains to whoever ran a local command; its message is that line. */
export class LocalError extends Error {
  override readonly name = 'LocalError';
}
