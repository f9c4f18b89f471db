import { useElementSize } from '@mantine/hooks';
import type { DayRevenue } from '@cinema-billing/gen/billing/admin/v1/operations_service_pb.ts';
import { useSettings } from '../settings.tsx';

interface Props {
  readonly fromDay: string;
  readonly toDay: string;
  readonly currencyCode: string;
  readonly revenue: readonly DayRevenue[];
}

const [height, top, bottom] = [220, 12, 26];
const labelWidth = 84;
const dayMs = 86_400_000;
/** The contract's longest span. */
const daysMax = 367;

/** Money taken by day; what went back hangs below the line's foot as a second bar. */
export function DayBars({ fromDay, toDay, currencyCode, revenue }: Props) {
  const { t, money, date } = useSettings();
  const { ref, width: measured } = useElementSize<HTMLDivElement>();
  const width = Math.max(measured, labelWidth);
  const days = daysBetween(fromDay, toDay);
  const byDay = new Map(
    revenue.filter(({ charged }) => charged?.currencyCode === currencyCode).map((entry) => [entry.day, entry]),
  );
  const highest = days.reduce((max, day) => Math.max(max, Number(byDay.get(day)?.charged?.amountMinor ?? 0n)), 1);
  const step = width / days.length;
  const scale = (height - top - bottom) / highest;
  const every = Math.ceil((days.length * labelWidth) / width);
  const foot = height - bottom;
  return (
    <div ref={ref} className="chart">
      <svg
        viewBox={`0 0 ${width} ${height}`}
        className="bars"
        role="img"
        aria-label={t('revenueByDay')}
        width={width}
        height={height}
      >
        {[0, 0.5, 1].map((part) => (
          <line
            key={part}
            className="grid"
            x1={0}
            x2={width}
            y1={foot - part * (foot - top)}
            y2={foot - part * (foot - top)}
          />
        ))}
        <text x={0} y={top + 12}>
          {money({ currencyCode, amountMinor: BigInt(highest) })}
        </text>
        {days.map((day, at) => {
          const entry = byDay.get(day);
          const charged = Number(entry?.charged?.amountMinor ?? 0n) * scale;
          const refunded = Math.min(Number(entry?.refunded?.amountMinor ?? 0n) * scale, foot - top);
          const noon = new Date(`${day}T12:00:00Z`);
          return (
            <g key={day}>
              {charged > 0 && (
                <rect
                  x={at * step + step * 0.15}
                  y={foot - charged}
                  width={step * 0.7}
                  height={charged}
                  rx={Math.min(4, step / 4)}
                >
                  <title>{`${date(noon, 'day')}: ${money(entry!.charged)}`}</title>
                </rect>
              )}
              {refunded > 0 && (
                <rect
                  className="back"
                  x={at * step + step * 0.15}
                  y={foot - refunded}
                  width={step * 0.2}
                  height={refunded}
                  rx={2}
                >
                  <title>{t('goneBack', { amount: money(entry!.refunded) })}</title>
                </rect>
              )}
              {at % every === 0 && (
                <text x={at * step + step / 2} y={height - 6} textAnchor={at === 0 ? 'start' : 'middle'}>
                  {date(noon, 'short')}
                </text>
              )}
            </g>
          );
        })}
      </svg>
    </div>
  );
}

function daysBetween(fromDay: string, toDay: string): string[] {
  const from = Date.parse(`${fromDay}T00:00:00Z`);
  const count = Math.round((Date.parse(`${toDay}T00:00:00Z`) - from) / dayMs) + 1;
  return Array.from({ length: Math.min(Math.max(count, 1), daysMax) }, (_, at) =>
    new Date(from + at * dayMs).toISOString().slice(0, 10),
  );
}
