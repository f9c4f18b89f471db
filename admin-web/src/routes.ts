import { lazy } from 'react';
import type { Word } from './texts.ts';

/** Every page, by its path under /admin; a test opens each of them. Those with a word are in the navigation. */
export const routes = [
  { path: '/', word: 'overview', icon: '◔', page: lazy(() => import('./pages/overview.tsx')) },
  { path: '/plans', word: 'plans', icon: '▤', page: lazy(() => import('./pages/plans.tsx')) },
  { path: '/plans/:id', page: lazy(() => import('./pages/plan.tsx')) },
  { path: '/users', word: 'users', icon: '☻', page: lazy(() => import('./pages/users.tsx')) },
  { path: '/users/:id', page: lazy(() => import('./pages/user.tsx')) },
  { path: '/payments', word: 'payments', icon: '₽', page: lazy(() => import('./pages/payments.tsx')) },
  { path: '/payments/:id', page: lazy(() => import('./pages/payment.tsx')) },
  { path: '/audit', word: 'audit', icon: '✎', page: lazy(() => import('./pages/audit.tsx')) },
  { path: '/sandbox', word: 'sandbox', icon: '▶', page: lazy(() => import('./pages/sandbox.tsx')) },
] as const satisfies readonly {
  path: string;
  word?: Word;
  icon?: string;
  page: ReturnType<typeof lazy>;
}[];
