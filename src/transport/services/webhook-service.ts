import type { WebhookService } from '@cinema-billing/gen/billing/v1/webhook_service_pb.ts';
import type { PaymentsContext } from '../../payments/providers.ts';
import { receiveWebhook } from '../../payments/receive-webhook.ts';
import type { Call } from '../call.ts';
import type { ServiceImpl } from '../router.ts';

/** What payment systems call. */
export function webhookService(contextOf: (call: Call) => PaymentsContext): ServiceImpl<typeof WebhookService> {
  return {
    async receiveWebhook(call, { provider, payload }) {
      const { requestHeaders: headers, remoteAddress } = call;
      await receiveWebhook(contextOf(call), { provider, raw: payload!.data, headers, remoteAddress });
      return {};
    },
  };
}
