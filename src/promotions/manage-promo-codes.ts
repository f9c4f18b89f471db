import { sql } from 'kysely';
import { recordAudit } from '../audit/record-audit.ts';
import { businessNow } from '../db/clock.ts';
import { cutPage, pageSizeOf, readPageToken, type PageRequest } from '../db/page.ts';
import type { EntityManager } from '../db/orm.ts';
import type { CallContext } from '../identity/call-context.ts';
import { onceOrRehearsed } from '../identity/once-or-rehearsed.ts';
import { requestKey } from '../identity/once.ts';
import { BillingError } from '../lib/billing-error.ts';
import { newId } from '../lib/ids.ts';
import { promoCodeNotFound, readPromoCodes, type DiscountTerms, type PromoCode } from './promo-code.ts';

interface Change {
  readonly requestId: string;
  readonly reason: string;
  readonly validateOnly: boolean;
}

export interface CreatePromoCodeInput extends Change {
  /** In capitals. */
  readonly code: string;
  readonly terms: DiscountTerms;
  readonly cycles: number;
  /** The only plan that it is for; undefined for all. */
  readonly planId: string | undefined;
  readonly redemptionsMax: number | undefined;
  readonly endsAt: Temporal.Instant | undefined;
}

/**
 * Makes a promo code, to be redeemed at once. Throws PROMO_CODE_EXISTS, PROMO_CODE_INVALID for a currency that ISO 4217
 * does not have or an end that has passed, PLAN_NOT_FOUND.
 */
export async function createPromoCode(ctx: CallContext, input: CreatePromoCodeInput): Promise<PromoCode> {
  const { requestId, validateOnly, ...asked } = input;
  const { terms, endsAt } = input;
  if (terms.amountOff && !Intl.supportedValuesOf('currency').includes(terms.amountOff.currencyCode)) {
    throw promoCodeInvalid(`${terms.amountOff.currencyCode} is not a currency of ISO 4217`);
  }
  return onceOrRehearsed(ctx, requestKey(ctx, 'CreatePromoCode', requestId, asked), validateOnly, async (tx) => {
    const now = await businessNow(tx);
    if (endsAt && Temporal.Instant.compare(endsAt, now) <= 0) throw promoCodeInvalid('a code ends in the future');
    await requirePlan(tx, input.planId);
    const id = newId();
    const { rows } = await sql`
      insert into promo_code (id, code, percent_off, amount_off_minor, currency_code, cycles, plan_id, redemptions_max,
        ends_at, created_at)
      values (${id}, ${input.code}, ${terms.percentOff ?? null}, ${terms.amountOff?.amountMinor ?? null},
        ${terms.amountOff?.currencyCode ?? null}, ${input.cycles}, ${input.planId ?? null},
        ${input.redemptionsMax ?? null}, ${endsAt?.toString() ?? null}, ${now.toString()})
      on conflict (code) do nothing returning 1
    `.execute(tx.getKysely());
    if (rows.length === 0) throw new BillingError('exists', 'PROMO_CODE_EXISTS', 'there is such a promo code already');
    return audited(ctx, tx, 'CreatePromoCode', { id, reason: input.reason, before: undefined, now });
  });
}

/**
 * Nobody redeems the code from now on; who has it keeps it. One that has ended stays as it is. Throws
 * PROMO_CODE_NOT_FOUND.
 */
export async function endPromoCode(
  ctx: CallContext,
  input: Change & { readonly promoCodeId: string },
): Promise<PromoCode> {
  const { requestId, validateOnly, ...asked } = input;
  return onceOrRehearsed(ctx, requestKey(ctx, 'EndPromoCode', requestId, asked), validateOnly, async (tx) => {
    const { promoCodeId: id, reason } = input;
    // Whoever is redeeming it at this moment holds the row.
    await sql`select 1 from promo_code where id = ${id} for update`.execute(tx.getKysely());
    const [before] = await readPromoCodes(tx, [id]);
    if (!before) throw promoCodeNotFound();
    const now = await businessNow(tx);
    await sql`
      update promo_code set ends_at = ${now.toString()} where id = ${id} and (ends_at is null or ends_at > ${now.toString()})
    `.execute(tx.getKysely());
    return audited(ctx, tx, 'EndPromoCode', { id, reason, before, now });
  });
}

/** All codes, newest first, ended ones too. Throws PAGE_TOKEN_INVALID. */
export async function listPromoCodes(
  ctx: CallContext,
  input: PageRequest,
): Promise<{ items: PromoCode[]; nextPageToken: string }> {
  const cursor = readPageToken(ctx, 'promo codes', input);
  const em = ctx.em.fork();
  const after = cursor ? sql`where (created_at, id) < (${cursor.at.toString()}, ${cursor.id}::uuid)` : sql``;
  const { rows } = await sql<{ id: string }>`
    select id from promo_code ${after} order by created_at desc, id desc limit ${pageSizeOf(input) + 1}
  `.execute(em.getKysely());
  const codes = await readPromoCodes(
    em,
    rows.map(({ id }) => id),
  );
  return cutPage(ctx, 'promo codes', input, codes, ({ createdAt, id }) => ({ at: createdAt, id }));
}

async function requirePlan(tx: EntityManager, planId: string | undefined): Promise<void> {
  if (planId === undefined) return;
  // Held until the code is committed: a plan that is deleted takes its codes with it.
  const { rows } = await sql`select 1 from plan where id = ${planId} for key share`.execute(tx.getKysely());
  if (rows.length === 0) throw new BillingError('not-found', 'PLAN_NOT_FOUND', 'no such plan');
}

async function audited(
  ctx: CallContext,
  tx: EntityManager,
  action: string,
  { id, reason, before, now }: { id: string; reason: string; before: PromoCode | undefined; now: Temporal.Instant },
): Promise<PromoCode> {
  const [after] = await readPromoCodes(tx, [id]);
  await recordAudit(ctx, tx, { action, targetKind: 'promo_code', targetId: id, reason, before, after }, now);
  return after!;
}

function promoCodeInvalid(text: string): BillingError {
  return new BillingError('invalid', 'PROMO_CODE_INVALID', text);
}
