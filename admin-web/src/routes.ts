import { createElement, lazy, type ComponentType } from 'react';
import type { Word } from './texts.ts';

/**
 * A page whose code is loaded when it is first shown, or before that by `load`: then it is there at once. One that is
 * still on its way is a skeleton first, which React keeps for 300 ms however soon the code comes.
 */
function pageOf(importIt: () => Promise<{ default: ComponentType }>) {
  let page: ComponentType = lazy(importIt);
  const load = async () => void (page = (await importIt()).default);
  return Object.assign(() => createElement(page), { load });
}

/** Every page, by its path under /admin; a test opens each of them. Those with a word are in the navigation. */
export const routes = [
  { path: '/', word: 'overview', page: pageOf(() => import('./pages/overview.tsx')) },
  { path: '/plans', word: 'plans', page: pageOf(() => import('./pages/plans.tsx')) },
  { path: '/plans/:id', page: pageOf(() => import('./pages/plan.tsx')) },
  { path: '/promo-codes', word: 'promoCodes', page: pageOf(() => import('./pages/promo-codes.tsx')) },
  { path: '/users', word: 'users', page: pageOf(() => import('./pages/users.tsx')) },
  { path: '/users/:id', page: pageOf(() => import('./pages/user.tsx')) },
  { path: '/payments', word: 'payments', page: pageOf(() => import('./pages/payments.tsx')) },
  { path: '/payments/:id', page: pageOf(() => import('./pages/payment.tsx')) },
  { path: '/audit', word: 'audit', page: pageOf(() => import('./pages/audit.tsx')) },
  { path: '/sandbox', word: 'sandbox', page: pageOf(() => import('./pages/sandbox.tsx')) },
] as const satisfies readonly {
  path: string;
  word?: Word;
  page: ReturnType<typeof pageOf>;
}[];

/** Loads the code of the page at a path under /admin. */
export async function loadPage(pathname: string): Promise<void> {
  const parts = pathname.split('/');
  const isAt = (path: string) => {
    const pattern = path.split('/');
    return pattern.length === parts.length && pattern.every((part, index) => part === ':id' || part === parts[index]);
  };
  await routes.find(({ path }) => isAt(path))?.page.load();
}
