import { lazy } from 'react';
import type { Word } from './texts.ts';

/** Every page, by its path under /admin; a test opens each of them. Those with a word are in the navigation. */
export const routes = [
  { path: '/', word: 'overview', page: lazy(() => import('./pages/overview.tsx')) },
  { path: '/plans', word: 'plans', page: lazy(() => import('./pages/plans.tsx')) },
  { path: '/plans/:id', page: lazy(() => import('./pages/plan.tsx')) },
  { path: '/promo-codes', word: 'promoCodes', page: lazy(() => import('./pages/promo-codes.tsx')) },
  { path: '/users', word: 'users', page: lazy(() => import('./pages/users.tsx')) },
  { path: '/users/:id', page: lazy(() => import('./pages/user.tsx')) },
  { path: '/payments', word: 'payments', page: lazy(() => import('./pages/payments.tsx')) },
  { path: '/payments/:id', page: lazy(() => import('./pages/payment.tsx')) },
  { path: '/audit', word: 'audit', page: lazy(() => import('./pages/audit.tsx')) },
  { path: '/sandbox', word: 'sandbox', page: lazy(() => import('./pages/sandbox.tsx')) },
] as const satisfies readonly {
  path: string;
  word?: Word;
  page: ReturnType<typeof lazy>;
}[];
