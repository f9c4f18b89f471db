import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { Client, credentials, Metadata } from '@grpc/grpc-js';
import {
  EntitlementService,
  GetEntitlementRequestSchema,
} from '@cinema-billing/gen/billing/v1/entitlement_service_pb.ts';
import { ListPlansResponseSchema, PlanService } from '@cinema-billing/gen/billing/v1/plan_service_pb.ts';
import { migrateDatabase } from '../src/db/migrate.ts';
import { plantPlans } from '../src/local/demo-data.ts';
import { freePort } from '../src/local/ports.ts';
import type { Bench, BenchEnvironment, Figures } from './bench.ts';
import { withClient } from './postgres-server.ts';
import { findH2load, runLoad, type H2load, type Load } from './rpc/h2load.ts';
import { startServer, startServiceUnderLoad, type BenchServer } from './rpc/servers.ts';

/** What a bare server needs. */
export interface BareInput {
  readonly kind: 'grpc' | 'connect';
  readonly port: number;
  readonly databaseUrl: string;
  /** ListPlansResponse as the service answers it, base64. */
  readonly answer: string;
}

const requests = { grpc: 20_000, connect: 8_000 } as const;
const warmUpShare = 0.5;
const connections = 8;
const streams = 16;
const viewers = 10_000;
/** Answers differ in the digits of an instant. */
const bytesTolerance = 0.02;
const archivedSeenMaxMs = 5_000;
const pollMs = 10;
const listPlans = `/${PlanService.typeName}/ListPlans`;
const getEntitlement = `/${EntitlementService.typeName}/GetEntitlement`;
const sides = [
  'list_plans',
  'list_plans_echo',
  'get_entitlement',
  'get_entitlement_bare',
  'connect',
  'connect_echo',
] as const;
type Side = (typeof sides)[number];

/** What the pipeline costs per call: the service's processor time against servers that only decode, look up and encode. */
export const rpc: Bench = {
  title: 'calls over gRPC and Connect, against bare grpc-js and connect-node servers with the same answers',
  units: {
    ...Object.fromEntries(
      sides.flatMap((side) => [[side, 'calls/s'] as const, [`${side}_us`, 'µs of processor/call'] as const]),
    ),
    archived_seen: 'ms',
  },
  ratios: {
    list_plans_of_echo: { of: (f) => f['list_plans_echo_us']! / f['list_plans_us']!, bar: { at_least: 0.7 } },
    get_entitlement_of_bare: {
      of: (f) => f['get_entitlement_bare_us']! / f['get_entitlement_us']!,
      bar: { at_least: 0.7 },
    },
    connect_of_echo: { of: (f) => f['connect_echo_us']! / f['connect_us']!, bar: { at_least: 0.75 } },
    archived_seen_ms: { of: (f) => f['archived_seen']!, bar: { at_most: 1_000 } },
  },
  async prepare(env) {
    const h2load = await findH2load(env.progress);
    const databaseUrl = env.databaseUrl('rpc');
    const userId = await plantData(env, databaseUrl);
    const service = await startServiceUnderLoad(env, databaseUrl);
    const grpcAddress = `127.0.0.1:${service.grpcPort}`;
    const token = service.token({ scope: 'billing.entitlements' });
    const lookUp = toBinary(GetEntitlementRequestSchema, create(GetEntitlementRequestSchema, { userId }));
    const plans = await callRaw(grpcAddress, listPlans, new Uint8Array(), token);
    const [grpcPort, connectPort] = [await freePort(), await freePort()];
    const bare = { databaseUrl, answer: plans.toString('base64') };
    const program = join(import.meta.dirname, 'rpc/bare-server.ts');
    const start = (input: BareInput) =>
      startServer(env, `bare-${input.kind}`, program, { args: [JSON.stringify(input)], port: input.port });
    const bareGrpc = await start({ ...bare, kind: 'grpc', port: grpcPort });
    const bareConnect = await start({ ...bare, kind: 'connect', port: connectPort });

    const entitlement = await callRaw(grpcAddress, getEntitlement, lookUp, token);
    const same = await callRaw(`127.0.0.1:${grpcPort}`, getEntitlement, lookUp, token);
    if (Math.abs(entitlement.length - same.length) > 4) throw new Error('the bare server answers something else');
    const ofPlans = grpcLoad(env, 'plans', new Uint8Array(), token);
    const ofUser = grpcLoad(env, 'user', lookUp, token);
    const json = connectLoad(env, token);
    const jsonBytes = (await listOverConnect(service.httpPort)).length;
    const target = (port: number, path: string) => `http://127.0.0.1:${port}${path}`;
    const loads: Record<Side, [BenchServer, Load, answerBytes: number]> = {
      list_plans: [service, { ...ofPlans, url: target(service.grpcPort, listPlans) }, plans.length + 5],
      list_plans_echo: [bareGrpc, { ...ofPlans, url: target(grpcPort, listPlans) }, plans.length + 5],
      get_entitlement: [service, { ...ofUser, url: target(service.grpcPort, getEntitlement) }, entitlement.length + 5],
      get_entitlement_bare: [bareGrpc, { ...ofUser, url: target(grpcPort, getEntitlement) }, entitlement.length + 5],
      connect: [service, { ...json, url: target(service.httpPort, listPlans) }, jsonBytes],
      connect_echo: [bareConnect, { ...json, url: target(connectPort, listPlans) }, jsonBytes],
    };
    for (const side of sides) await measure(h2load, loads[side], warmUpShare);
    return {
      settings: {
        load: `h2load, ${connections} connections, ${streams} calls at once on each (HTTP/2), one on each (HTTP/1.1)`,
        service: 'npm run serve, api role, log level info to a file, rate limits off, a valid token with every call',
        bare: 'grpc-js: decode, the same message or the same statement on pg’s pool, encode; connect-node: an adapter',
      },
      async round(number): Promise<Figures> {
        const figures: Record<string, number> = {};
        // Pairs stay together; who goes first in a pair alternates.
        for (let pair = 0; pair < sides.length; pair += 2) {
          const [one, two] = [sides[pair]!, sides[pair + 1]!];
          for (const side of number % 2 === 1 ? [one, two] : [two, one]) {
            const { perS, us } = await measure(h2load, loads[side], env.profileDir === undefined ? 1 : 2);
            figures[side] = perS;
            figures[`${side}_us`] = us;
          }
        }
        figures['archived_seen'] = await archivedSeenMs(grpcAddress, databaseUrl, token);
        return figures;
      },
      stop: async () => void (await Promise.all([service.stop(), bareGrpc.stop(), bareConnect.stop()])),
    };
  },
};

async function measure(
  h2load: H2load,
  [server, load, answerBytes]: [BenchServer, Load, number],
  share: number,
): Promise<{ perS: number; us: number }> {
  const count = Math.round(load.requests * share);
  const before = server.cpuUs();
  const { perS, dataBytes } = await runLoad(h2load, { ...load, requests: count });
  const us = (server.cpuUs() - before) / count;
  // An error would be answered with 200, too, but without a message.
  if (Math.abs(dataBytes / count / answerBytes - 1) > bytesTolerance) {
    throw new Error(`${load.url}: ${dataBytes} bytes for ${count} answers of ${answerBytes}`);
  }
  return { perS, us };
}

function grpcLoad(env: BenchEnvironment, name: string, message: Uint8Array, token: string): Omit<Load, 'url'> {
  const bodyFile = join(env.dir, `${name}.grpc`);
  const prefix = Buffer.alloc(5);
  prefix.writeUInt32BE(message.length, 1);
  writeFileSync(bodyFile, Buffer.concat([prefix, message]));
  const headers = { 'content-type': 'application/grpc+proto', te: 'trailers', authorization: `Bearer ${token}` };
  return { headers, bodyFile, requests: requests.grpc, connections, streams, http1: false };
}

const connectHeaders = { 'content-type': 'application/json', 'connect-protocol-version': '1' };

function connectLoad(env: BenchEnvironment, token: string): Omit<Load, 'url'> {
  const bodyFile = join(env.dir, 'plans.json');
  writeFileSync(bodyFile, '{}');
  const headers = { ...connectHeaders, authorization: `Bearer ${token}` };
  return { headers, bodyFile, requests: requests.connect, connections, streams: 1, http1: true };
}

async function listOverConnect(port: number): Promise<Buffer> {
  const url = `http://127.0.0.1:${port}${listPlans}`;
  const answer = await fetch(url, { method: 'POST', headers: connectHeaders, body: '{}' });
  return Buffer.from(await answer.arrayBuffer());
}

/** One call with these bytes; the answer's bytes. */
async function callRaw(address: string, path: string, message: Uint8Array, token: string): Promise<Buffer> {
  const client = new Client(address, credentials.createInsecure());
  const metadata = new Metadata();
  metadata.set('authorization', `Bearer ${token}`);
  const same = (bytes: Buffer) => bytes;
  try {
    return await new Promise((resolve, reject) => {
      client.makeUnaryRequest(path, same, same, Buffer.from(message), metadata, (error, answer) =>
        error ? reject(error) : resolve(answer!),
      );
    });
  } finally {
    client.close();
  }
}

/** Plans, and viewers with a right; answers one of them. */
async function plantData(env: BenchEnvironment, databaseUrl: string): Promise<string> {
  await withClient(env.databaseUrl('postgres'), (client) => client.query('create database rpc'));
  await migrateDatabase(databaseUrl);
  await plantPlans(databaseUrl);
  return withClient(databaseUrl, async (client) => {
    await client.query(
      `insert into entitlement (user_id, version, rights_version, grants, updated_at)
       select gen_random_uuid(), 3, 2, jsonb_build_array(jsonb_build_object('product_line', 'cinema', 'subscription_id',
         gen_random_uuid(), 'plan_code', 'standard', 'features', array['catalog.base', 'video.uhd'], 'access_until',
         '2099-02-15T09:00:00.000Z', 'in_grace', false)), now() from generate_series(1, $1::int)`,
      [viewers],
    );
    await client.query('vacuum (analyze, freeze)');
    const { rows } = await client.query<{ user_id: string }>('select user_id from entitlement limit 1');
    return rows[0]!.user_id;
  });
}

/** How long an archived plan is still on the list when another replica took it off sale; then it is sold again. */
async function archivedSeenMs(address: string, databaseUrl: string, token: string): Promise<number> {
  const onSale = async () => {
    const { plans } = fromBinary(ListPlansResponseSchema, await callRaw(address, listPlans, new Uint8Array(), token));
    return plans.some(({ code }) => code === 'premium');
  };
  const until = async (wanted: boolean) => {
    const begin = performance.now();
    while ((await onSale()) !== wanted) {
      if (performance.now() - begin > archivedSeenMaxMs) throw new Error('the list of plans does not change');
      await pause(pollMs);
    }
    return performance.now() - begin;
  };
  return withClient(databaseUrl, async (client) => {
    await client.query(`update plan set archived_at = now() where code = 'premium'`);
    const seenMs = await until(false);
    await client.query(`update plan set archived_at = null where code = 'premium'`);
    await until(true);
    return seenMs;
  });
}
