import { Migration } from '@mikro-orm/migrations';

/** Another price for those who have one, with notice. */
export class PriceMoves extends Migration {
  override up(): void {
    this.addSql(`
      alter table subscription
        add column announced_price_id uuid references price,
        add column announced_price_from timestamptz(3),
        add constraint subscription_announced_price
          check ((announced_price_id is null) = (announced_price_from is null));

      -- Who is told of another price, and how far the telling has come.
      create table price_move (
        id uuid primary key,
        plan_id uuid not null references plan on delete cascade,
        from_price_id uuid not null references price on delete cascade,
        to_price_id uuid not null references price on delete cascade,
        reason text not null,
        actor_id text not null,
        actor_role text not null,
        after_subscription_id uuid,
        created_at timestamptz(3) not null,
        finished_at timestamptz(3),
        constraint price_move_moves check (from_price_id <> to_price_id)
      );
      -- Who refers to a price, for whoever wants to delete its plan.
      create index subscription_scheduled_price on subscription (scheduled_price_id)
        where scheduled_price_id is not null;
      create index subscription_announced_price on subscription (announced_price_id)
        where announced_price_id is not null;
      create index payment_of_changed_price on payment (price_id) where price_id is not null;
      create unique index one_open_price_move on price_move (from_price_id) where finished_at is null;
    `);
  }
}
