import { sql } from 'kysely';
import type { EntityManager } from '../db/orm.ts';

export interface ReceiptRecord {
  readonly id: string;
  readonly paymentId: string;
  readonly attemptId: string;
  /** Empty for the receipt of the charge itself. */
  readonly refundId: string;
  readonly state: 'PENDING' | 'ISSUED' | 'FAILED' | 'VOID';
  /** Empty once it is erased. */
  readonly contact: string;
  readonly lineText: string;
  readonly vatCode: number;
  readonly paymentSubject: string;
  readonly paymentMode: string;
  readonly fiscalDocument: string;
}

interface Row {
  id: string;
  payment_id: string;
  attempt_id: string;
  refund_id: string | null;
  state: ReceiptRecord['state'];
  contact: string | null;
  line_text: string;
  vat_code: number;
  payment_subject: string;
  payment_mode: string;
  fiscal_document: string;
}

/** The receipts of payments and of their refunds, oldest first. */
export async function readReceiptsOf(em: EntityManager, paymentIds: readonly string[]): Promise<ReceiptRecord[]> {
  const { rows } = await sql<Row>`
    select r.id, a.payment_id, r.attempt_id, r.refund_id, r.state, r.contact, r.line_text, r.vat_code,
      r.payment_subject, r.payment_mode, r.fiscal_document
    from receipt r join payment_attempt a on a.id = r.attempt_id
    where a.payment_id = any(${paymentIds}::uuid[]) order by r.id
  `.execute(em.getKysely());
  return rows.map((row) => ({
    id: row.id,
    paymentId: row.payment_id,
    attemptId: row.attempt_id,
    refundId: row.refund_id ?? '',
    state: row.state,
    contact: row.contact ?? '',
    lineText: row.line_text,
    vatCode: row.vat_code,
    paymentSubject: row.payment_subject,
    paymentMode: row.payment_mode,
    fiscalDocument: row.fiscal_document,
  }));
}
