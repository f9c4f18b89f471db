import { Alert, Button, Center, Paper, Stack, Text, Title } from '@mantine/core';
import { beginSignIn } from './auth.ts';
import { Logo } from './parts/logo.tsx';
import { useSettings } from './settings.tsx';

/** Shown to whoever has signed out, or could not sign in; everybody else is sent on to the provider at once. */
export function SignIn({ failure }: { readonly failure: unknown }) {
  const { t, config } = useSettings();
  const isRole = failure instanceof Error && failure.message === 'NO_ROLE';
  return (
    <Center component="main" mih="100vh" p="md">
      <Paper withBorder radius="lg" p="xl" w="100%" maw={400}>
        <Stack align="center" ta="center">
          <Logo size={56} />
          <Title order={1} size="h2">
            {t('product')}
          </Title>
          <Text c="dimmed">{t('signInLead')}</Text>
          {failure !== undefined && (
            <Alert color="red" title={t('signInFailed')} w="100%" ta="start">
              {isRole ? t('noRole') : String(failure instanceof Error ? failure.message : failure)}
            </Alert>
          )}
          <Button size="md" fullWidth onClick={() => void beginSignIn(config, true)}>
            {t('signIn')}
          </Button>
        </Stack>
      </Paper>
    </Center>
  );
}
