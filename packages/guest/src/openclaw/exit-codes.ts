// Exit codes of mvm-openclaw's commands, as in sysexits where there is one. The agent's adapter tells busy from broken by them.
export const EXIT = { ok: 0, failed: 1, usage: 2, busy: 75, olderRuntime: 78 } as const;
