import { defineConfig } from 'vite';

export default defineConfig({
  base: '/admin/',
  build: {
    target: 'es2023',
    // They know light-dark() themselves; written for older ones it would lose its colours.
    cssTarget: ['chrome125', 'firefox125', 'safari18'],
    emptyOutDir: true,
    // A data: URL in the page would need a wider policy, and an inline module preload script a hole in it.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    rolldownOptions: {
      onLog(level, log, tell) {
        // The component library marks its modules for servers that render; nothing renders there.
        if (log.code !== 'MODULE_LEVEL_DIRECTIVE') tell(level, log);
      },
    },
  },
});
