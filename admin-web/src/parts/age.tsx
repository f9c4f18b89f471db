import { timestampDate, type Timestamp } from '@bufbuild/protobuf/wkt';
import { useQuery } from '@connectrpc/connect-query';
import { SandboxService } from '@cinema-billing/gen/billing/sandbox/v1/sandbox_service_pb.ts';
import { formatAge } from '../format.ts';
import { useSettings } from '../settings.tsx';

/** How long something has been waiting for a person, by the business clock, which is another one in the sandbox. */
export function Age({ at }: { readonly at: Timestamp | undefined }) {
  const { config, language } = useSettings();
  const hasClock = config.sandboxAuthUrl !== null;
  const { data } = useQuery(SandboxService.method.getClock, {}, { enabled: hasClock });
  if (at === undefined || (hasClock && data === undefined)) return null;
  const nowMs = data ? timestampDate(data.now!).getTime() : Date.now();
  return <span className="dim">{formatAge(at, nowMs, language)}</span>;
}
