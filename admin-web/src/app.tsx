import { Suspense } from 'react';
import {
  ActionIcon,
  AppShell,
  Avatar,
  Box,
  Burger,
  Group,
  Menu,
  Text,
  UnstyledButton,
  useComputedColorScheme,
  useMantineColorScheme,
} from '@mantine/core';
import { useDisclosure } from '@mantine/hooks';
import { Link, Route, Router, Switch, useLocation } from 'wouter';
import { signOut } from './auth.ts';
import { Icon } from './parts/icon.tsx';
import { Logo } from './parts/logo.tsx';
import { PageSkeleton } from './parts/states.tsx';
import { routes } from './routes.ts';
import { useSettings } from './settings.tsx';

export function App() {
  return (
    <Router base="/admin">
      <Shell />
    </Router>
  );
}

function Shell() {
  const { t } = useSettings();
  const [opened, { toggle, close }] = useDisclosure();
  return (
    <AppShell
      header={{ height: 60 }}
      navbar={{ width: 224, breakpoint: 'sm', collapsed: { mobile: !opened } }}
      padding={{ base: 'md', sm: 'xl' }}
    >
      <AppShell.Header className="shell-header">
        <Group h="100%" px="md" justify="space-between" wrap="nowrap">
          <Group gap="sm" wrap="nowrap">
            <Burger opened={opened} onClick={toggle} hiddenFrom="sm" size="sm" aria-label={t('menu')} />
            <Logo size={32} />
            <Text fw={650} visibleFrom="xs">
              {t('product')}
            </Text>
          </Group>
          <Controls />
        </Group>
      </AppShell.Header>
      <AppShell.Navbar p="sm" className="shell-navbar" aria-label={t('menu')}>
        <Navigation onChoose={close} />
      </AppShell.Navbar>
      <AppShell.Main>
        <Box maw={1160} mx="auto">
          <Suspense fallback={<PageSkeleton />}>
            <Switch>
              {routes.map(({ path, page }) => (
                <Route key={path} path={path} component={page} />
              ))}
              <Route>
                <Text>{t('notFound')}</Text>
              </Route>
            </Switch>
          </Suspense>
        </Box>
      </AppShell.Main>
    </AppShell>
  );
}

function Navigation({ onChoose }: { readonly onChoose: () => void }) {
  const { t, config } = useSettings();
  const [location] = useLocation();
  const shown = routes.filter((route) => 'word' in route && (route.path !== '/sandbox' || config.sandboxAuthUrl));
  return shown.map((route) => {
    if (!('word' in route)) return null;
    const isOpen = route.path === '/' ? location === '/' : location.startsWith(route.path);
    return (
      <Link
        key={route.path}
        href={route.path}
        className="nav"
        aria-current={isOpen ? 'page' : undefined}
        onClick={onChoose}
      >
        <Icon name={route.word} />
        {t(route.word)}
      </Link>
    );
  });
}

function Controls() {
  const { t, session, language, setLanguage } = useSettings();
  const { setColorScheme } = useMantineColorScheme();
  const scheme = useComputedColorScheme('light');
  return (
    <Group gap={6} wrap="nowrap">
      <ActionIcon
        variant="subtle"
        size="lg"
        color="gray"
        c="inherit"
        aria-label={t('language')}
        onClick={() => setLanguage(language === 'en' ? 'ru' : 'en')}
      >
        <Text size="sm" fw={600}>
          {language === 'en' ? 'RU' : 'EN'}
        </Text>
      </ActionIcon>
      <ActionIcon
        variant="subtle"
        size="lg"
        color="gray"
        c="inherit"
        aria-label={t('theme')}
        onClick={() => setColorScheme(scheme === 'dark' ? 'light' : 'dark')}
      >
        <Icon name={scheme === 'dark' ? 'light' : 'dark'} />
      </ActionIcon>
      <Menu position="bottom-end" withinPortal>
        <Menu.Target>
          <UnstyledButton title={session!.name}>
            <Group gap="xs" wrap="nowrap">
              <Avatar color="violet" radius="xl" size={36} name={session!.name} variant="light" />
              <Box visibleFrom="sm">
                <Text size="sm" fw={550} lh={1.2}>
                  {session!.name}
                </Text>
                <Text size="xs" c="dimmed" lh={1.2}>
                  {t(`role_${session!.role}`)}
                </Text>
              </Box>
            </Group>
          </UnstyledButton>
        </Menu.Target>
        <Menu.Dropdown>
          <Menu.Label>
            {session!.name} · {t(`role_${session!.role}`)}
          </Menu.Label>
          <Menu.Item onClick={signOut}>{t('signOut')}</Menu.Item>
        </Menu.Dropdown>
      </Menu>
    </Group>
  );
}
