// Names the roles of pools in order of start; used by the planner and the orchestrator.
/** Start and wake order; sleep and stop reverse it. */
export const ROLE_PRIORITY = { gateway: 0, builder: 1, worker: 2, 'capability-imessage': 3, 'capability-openclaw': 3 } as const;
export type RoleName = keyof typeof ROLE_PRIORITY;
