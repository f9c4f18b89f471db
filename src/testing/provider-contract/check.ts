import assert from 'node:assert/strict';
import { NotExecuted, OutcomeUnknown, RequestRefused } from '../../payments/provider.ts';
import { startFaultProxy, type FaultProxy } from '../fault-proxy.ts';
import type { ContractSubject } from './subject.ts';

/** One thing that every provider must do; it throws when the provider does not. */
export interface ContractCheck {
  readonly title: string;
  run(subject: ContractSubject): Promise<void>;
}

type ProviderErrorClass = typeof NotExecuted | typeof OutcomeUnknown | typeof RequestRefused;

/** The call throws exactly that kind. */
export async function assertThrows(call: Promise<unknown>, kind: ProviderErrorClass): Promise<void> {
  const [result] = await Promise.allSettled([call]);
  assert.ok(result!.status === 'rejected', `answered where ${kind.name} was due`);
  assert.ok(result!.reason instanceof kind, `threw ${String(result!.reason)} where ${kind.name} was due`);
}

/** Runs the work with a proxy before the payment system. */
export async function throughProxy(subject: ContractSubject, work: (proxy: FaultProxy) => Promise<void>) {
  const proxy = await startFaultProxy(subject.url);
  try {
    await work(proxy);
  } finally {
    await proxy.close();
  }
}
