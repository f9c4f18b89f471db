import { useState } from 'react';
import { Button } from '@mantine/core';
import { useInfiniteQuery } from '@connectrpc/connect-query';
import { PlanAdminService } from '@cinema-billing/gen/billing/admin/v1/plan_admin_service_pb.ts';
import type { PromoCode } from '@cinema-billing/gen/billing/admin/v1/promo_code_pb.ts';
import { Link } from 'wouter';
import { Tag } from '../parts/labels.tsx';
import { byPageToken, MoreButton } from '../parts/pages-of.tsx';
import { CreatePromoCodeDialog, EndPromoCodeDialog, termsText } from '../parts/promo-code-dialogs.tsx';
import { Empty, Loaded, PageHead } from '../parts/states.tsx';
import { useSettings } from '../settings.tsx';

export default function PromoCodes() {
  const { t, may } = useSettings();
  const [isCreating, setIsCreating] = useState(false);
  const [ending, setEnding] = useState<PromoCode>();
  const query = useInfiniteQuery(PlanAdminService.method.listPromoCodes, { pageToken: '' }, byPageToken);
  return (
    <>
      <PageHead
        title={t('promoCodes')}
        aside={
          <Button
            disabled={!may('admin')}
            title={may('admin') ? '' : t('notAllowed')}
            onClick={() => setIsCreating(true)}
          >
            {t('newPromoCode')}
          </Button>
        }
      />
      <Loaded query={query}>
        {({ pages }) => (
          <section className="card">
            <Rows promoCodes={pages.flatMap((page) => page.promoCodes)} onEnd={setEnding} />
            <MoreButton query={query} />
          </section>
        )}
      </Loaded>
      {isCreating && <CreatePromoCodeDialog onClose={() => setIsCreating(false)} />}
      {ending && <EndPromoCodeDialog promoCode={ending} onClose={() => setEnding(undefined)} />}
    </>
  );
}

interface RowsProps {
  readonly promoCodes: readonly PromoCode[];
  readonly onEnd: (promoCode: PromoCode) => void;
}

function Rows({ promoCodes, onEnd }: RowsProps) {
  const settings = useSettings();
  const { t, may, date } = settings;
  if (promoCodes.length === 0) return <Empty>{t('noPromoCodes')}</Empty>;
  return (
    <table className="rows">
      <thead>
        <tr>
          <th>{t('promoCode')}</th>
          <th>{t('discount')}</th>
          <th>{t('forPlan')}</th>
          <th className="number">{t('redeemed')}</th>
          <th>{t('status')}</th>
        </tr>
      </thead>
      <tbody>
        {promoCodes.map((promoCode) => {
          const { id, code, planId, planCode, redemptionCount, redemptionsMax, endsAt } = promoCode;
          return (
            <tr key={id}>
              <td className="mono">{code}</td>
              <td>{termsText(settings, promoCode)}</td>
              <td>
                {planId === '' ? (
                  t('allPlans')
                ) : (
                  <Link href={`/plans/${planId}`} className="row-link">
                    {planCode}
                  </Link>
                )}
              </td>
              <td className="number">
                {redemptionsMax === 0 ? redemptionCount : `${redemptionCount} / ${redemptionsMax}`}
              </td>
              <td>
                {endsAt ? (
                  <Tag tone="calm">{t('codeEndsOn', { date: date(endsAt, 'day') })}</Tag>
                ) : (
                  <Button
                    size="xs"
                    variant="default"
                    disabled={!may('admin')}
                    aria-label={`${t('endPromoCode')}: ${code}`}
                    onClick={() => onEnd(promoCode)}
                  >
                    {t('endPromoCode')}
                  </Button>
                )}
              </td>
            </tr>
          );
        })}
      </tbody>
    </table>
  );
}
