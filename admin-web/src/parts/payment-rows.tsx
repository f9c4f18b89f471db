import type { AdminPayment } from '@cinema-billing/gen/billing/admin/v1/payment_admin_service_pb.ts';
import { Link } from 'wouter';
import { useSettings } from '../settings.tsx';
import { Age } from './age.tsx';
import { AttemptTag, PaymentTag } from './labels.tsx';
import { Empty } from './states.tsx';

interface Props {
  readonly payments: readonly AdminPayment[];
  readonly withUser: boolean;
}

export function PaymentRows({ payments, withUser }: Props) {
  const { t, money, date } = useSettings();
  if (payments.length === 0) return <Empty>{t('noPayments')}</Empty>;
  return (
    <table className="rows">
      <thead>
        <tr>
          <th>{t('when')}</th>
          {withUser && <th>{t('user')}</th>}
          <th>{t('status')}</th>
          <th>{t('cardColumn')}</th>
          <th className="number">{t('amount')}</th>
        </tr>
      </thead>
      <tbody>
        {payments.map(({ payment, userId, attempts, needsAttention }) => {
          const last = attempts.at(-1);
          const isBack = (payment!.refunded?.amountMinor ?? 0n) > 0n;
          return (
            <tr key={payment!.id}>
              <td>
                <Link href={`/payments/${payment!.id}`} className="row-link">
                  {date(payment!.createdAt)}
                </Link>
              </td>
              {withUser && (
                <td>
                  <Link href={`/users/${userId}`} className="row-link mono">
                    {userId.slice(0, 8)}…{userId.slice(-4)}
                  </Link>
                </td>
              )}
              <td>
                {needsAttention && last ? (
                  <>
                    <AttemptTag state={last.state} /> <Age at={last.createdAt} />
                  </>
                ) : (
                  <PaymentTag status={payment!.status} />
                )}
              </td>
              <td className="dim">{last?.methodLabel}</td>
              <td className="number">
                {money(payment!.amount)}
                {isBack && <div className="dim">{t('goneBack', { amount: money(payment!.refunded) })}</div>}
              </td>
            </tr>
          );
        })}
      </tbody>
    </table>
  );
}
