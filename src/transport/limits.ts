/** The largest request message, on the wire and after decompression. */
export const bodyBytesMax = 256 * 1024;
/** The largest sum of header names and values. */
export const headerBytesMax = 16 * 1024;
/** Calls at once on one gRPC connection. */
export const concurrentStreamsMax = 128;
/** The longest deadline that a caller may ask for. */
export const deadlineMaxMs = 30_000;
/** Ours, for a caller who says none. */
export const deadlineDefaultMs = 10_000;
/** A sum of trailers above 8 KiB breaks clients and proxies: the rest of the violations is left out. */
export const fieldViolationsMax = 16;
