// Every command of the command line, in the order of the overview.
import { deployCommands, imageCommands } from './commands/deploy.ts';
import { instanceCommands } from './commands/instance.ts';
import { platformCommands } from './commands/platform.ts';
import { poolCommands } from './commands/pool.ts';
import { recordCommands } from './commands/records.ts';
import { tenantCommands } from './commands/tenant.ts';
import type { Command } from './define-command.ts';

export const COMMANDS: readonly Command[] = [
	...platformCommands,
	...deployCommands,
	...tenantCommands,
	...poolCommands,
	...instanceCommands,
	...imageCommands,
	...recordCommands,
];
