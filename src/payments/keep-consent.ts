import { sql } from 'kysely';
import type { EntityManager } from '../db/orm.ts';

/** That the viewer agreed to be charged again and again: which text, and from where. */
export interface Consent {
  readonly textVersion: string;
  readonly ipAddress: string;
}

/** Keeps the consent with the page that it was given for; the first one counts. */
export async function keepConsent(
  tx: EntityManager,
  attemptId: string,
  { textVersion, ipAddress }: Consent,
  now: Temporal.Instant,
): Promise<void> {
  await sql`
    insert into payment_consent (attempt_id, text_version, ip_address, agreed_at)
    values (${attemptId}, ${textVersion}, ${ipAddress}, ${now.toString()}) on conflict do nothing
  `.execute(tx.getKysely());
}

/** The method that was saved on the page has its consent from then on. */
export async function giveConsentToMethod(tx: EntityManager, attemptId: string, methodId: string): Promise<void> {
  await sql`
    with consent as (
      update payment_consent set payment_method_id = ${methodId} where attempt_id = ${attemptId}
      returning text_version, agreed_at
    )
    update payment_method m set consent_version = consent.text_version, consented_at = consent.agreed_at
    from consent where m.id = ${methodId}
  `.execute(tx.getKysely());
}
