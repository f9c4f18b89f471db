/** Drawn on 24 by 24. */
const shapes = {
  overview: 'M4 20V10m5 10V4m6 16v-7m5 7V8',
  plans: 'M4 6h16v5H4zM4 14h16v5H4zM8 8.5h.01M8 16.5h.01',
  promoCodes:
    'M4 7h16v3.500a1.500 1.500 0 0 0 0 3V17H4v-3.500a1.500 1.500 0 0 0 0-3zM10 10.500l4 3M10.500 10h.01M13.500 14h.01',
  users: 'M12 11a3.5 3.5 0 1 0 0-7 3.5 3.5 0 0 0 0 7zM5 20c.6-3.6 3.4-5.5 7-5.5s6.4 1.900 7 5.5',
  payments: 'M3 6.500h18v11H3zM3 10.500h18M6.500 14.500h3',
  audit: 'M6 3h9l4 4v14H6zM9 12h7M9 16h7M9 8h3',
  sandbox: 'M4 5h16v14H4zM10 9v6l5-3z',
  light:
    'M12 16a4 4 0 1 0 0-8 4 4 0 0 0 0 8zM12 3v1.500M12 19.500V21M3 12h1.500M19.500 12H21M5.600 5.600l1 1M17.400 17.400l1 1M5.600 18.400l1-1M17.400 6.600l1-1',
  dark: 'M20 14.500A8.500 8.500 0 0 1 9.500 4a8.500 8.500 0 1 0 10.500 10.500z',
} as const;

export type IconName = keyof typeof shapes;

export function Icon({ name }: { readonly name: IconName }) {
  return (
    <svg className="icon" viewBox="0 0 24 24" width={20} height={20} aria-hidden>
      <path d={shapes[name]} />
    </svg>
  );
}
