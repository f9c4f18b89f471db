import { StrictMode } from 'react';
import { createRoot } from 'react-dom/client';
import { createTheme, MantineProvider } from '@mantine/core';
import { TransportProvider } from '@connectrpc/connect-query';
import { QueryClientProvider } from '@tanstack/react-query';
import '@mantine/core/styles.css';
import './styles.css';
import { queries, sessionEnded, transport } from './api.ts';
import { App } from './app.tsx';
import { beginSignIn, finishSignIn, hasSignedOut, type PanelConfig, type Session } from './auth.ts';
import { loadPage } from './routes.ts';
import { SettingsProvider } from './settings.tsx';
import { SignIn } from './sign-in.tsx';

const nonce = document.querySelector<HTMLMetaElement>('meta[name="csp-nonce"]')?.content ?? '';
// Where the library that locks scrolling under a dialog looks for it.
Object.assign(globalThis, { __webpack_nonce__: nonce });

const theme = createTheme({
  // Text, dimmed text, borders, controls and the ground of the dark scheme, a little violet.
  colors: {
    dark: [
      '#ece8f2',
      '#c3bccf',
      '#a8a1b5',
      '#8b8399',
      '#40374f',
      '#332c3f',
      '#282133',
      '#15121b',
      '#110e16',
      '#0c0a10',
    ],
  },
  primaryColor: 'violet',
  primaryShade: { light: 7, dark: 6 },
  autoContrast: true,
  defaultRadius: 'md',
  cursorType: 'pointer',
  fontFamily: 'Inter, system-ui, -apple-system, "Segoe UI", Roboto, sans-serif',
  headings: { fontWeight: '650' },
});

const root = createRoot(document.querySelector('#root')!);

function show(config: PanelConfig, session: Session | undefined, failure: unknown): void {
  root.render(
    <StrictMode>
      <MantineProvider theme={theme} defaultColorScheme="auto" getStyleNonce={() => nonce}>
        <TransportProvider transport={transport}>
          <QueryClientProvider client={queries}>
            <SettingsProvider config={config} session={session}>
              {session === undefined ? <SignIn failure={failure} /> : <App />}
            </SettingsProvider>
          </QueryClientProvider>
        </TransportProvider>
      </MantineProvider>
    </StrictMode>,
  );
}

const config = (await (await fetch('/admin/config.json')).json()) as PanelConfig;
let session: Session | undefined;
let failure: unknown;
try {
  session = await finishSignIn(config);
  if (session === undefined && !hasSignedOut()) await beginSignIn(config, false);
  if (session !== undefined) await loadPage(location.pathname.replace(/^\/admin(?=\/)/, ''));
} catch (error) {
  failure = error;
}
addEventListener(sessionEnded, () => void beginSignIn(config, false), { once: true });
show(config, session, failure);
