import type { RunningFile } from './running-file.ts';

/** A viewer of the demo data, to try things with. */
const someViewer = '00000000-0000-4000-8000-000000000001';

export const help = `Starts the whole system on this machine; nothing else has to be installed. Ctrl-C stops it.

  npm start                 its data is kept in BILLING_DATA_DIR (.local) for the next start
  npm start -- --fresh      empties that folder first

PAYMENT_PROVIDER=stripe (or yookassa) charges through a double of it instead of the sandbox.
BILLING_PORT (8080) and BILLING_GRPC_PORT (50051) say where it listens; 0 takes any free port.`;

/** What a person reads when everything runs. `isUsualFolder`: the other commands find it without being told. */
export function whereEverythingIs(running: RunningFile, dataDir: string, isUsualFolder: boolean): string {
  const { httpUrl, grpcAddress, authUrl, paymentSystemUrl } = running;
  const npm = isUsualFolder ? 'npm' : `BILLING_DATA_DIR='${dataDir}' npm`;
  return `
Ready. Ctrl-C stops everything; the data stays.

  admin panel     ${httpUrl}/admin/  (sign in as a demo operator; the sandbox page shows the whole product)
  HTTP            ${httpUrl}  (Connect, gRPC-Web, webhooks, /readyz)
  gRPC            ${grpcAddress}  (with reflection, for grpcurl -plaintext)
  payment system  ${paymentSystemUrl}  (its pages take the cards of its README)
  Auth double     ${authUrl}  (/public-key.pem, /users/{id})
  data            ${dataDir}  (running.json: addresses, logs/: what each part says)

Try it in a second terminal:

  ${npm} run demo
  ${npm} run token -- --sub ${someViewer}
  curl -s ${httpUrl}/v1/plans
`;
}
