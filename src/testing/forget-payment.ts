/** Makes the service forget what it knew of a paid payment, as after a call without answer; the payment system has the money. */
export async function forgetPayment(
  query: (text: string, values: unknown[]) => Promise<unknown>,
  paymentId: string,
): Promise<void> {
  await query(
    `update payment_attempt set state = 'UNKNOWN', settled_at = null,
       next_check_at = business_now() + interval '1 day' where payment_id = $1`,
    [paymentId],
  );
  await query(`update payment set status = 'PENDING', settled_at = null where id = $1`, [paymentId]);
  await query(
    `update subscription s set open_payment_id = p.id from payment p where p.id = $1 and s.id = p.subscription_id`,
    [paymentId],
  );
}
