import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { stateTablePage } from '../subscriptions/state-table-page.ts';

/** Writes the pages that come from the code; a test says when they are out of date. */
writeFileSync(join(import.meta.dirname, '../../docs/subscription-states.md'), stateTablePage());
