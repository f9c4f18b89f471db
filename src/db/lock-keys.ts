/** Every advisory lock of the service, in the two-integer form; the first number says that it is billing's. */
export const lockKeys = {
  migration: [7_405, 1],
  renewals: [7_405, 2],
  relay: [7_405, 3],
  sweeper: [7_405, 4],
} as const;

/** The first number of the locks on the journal's lanes; the second is the lane. */
export const journalLaneSpace = 7_406;

/** The first number of the locks on viewers who have no entitlement yet; the second is a hash of the viewer. */
export const firstEntitlementSpace = 7_407;
