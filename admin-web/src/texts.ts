import { words } from './words.ts';

export type Language = 'en' | 'ru';
export type Word = keyof typeof words;
export type Translate = (word: Word, values?: Readonly<Record<string, string | number>>) => string;

const unknownWord = ['—', '—'] as const;

/** A function that says words in a language; `{name}` is replaced, and `{n|one|few|many}` by the number's form. */
export function translator(language: Language): Translate {
  const plural = new Intl.PluralRules(language);
  return (word, values = {}) =>
    // A state that a newer service has, and this panel no word for, must not take the page down.
    (words[word] ?? unknownWord)[language === 'en' ? 0 : 1]!.replaceAll(
      /\{(\w+)((?:\|[^|}]*)*)\}/g,
      (_, name: string, forms: string) => {
        const value = values[name] ?? '';
        if (forms === '') return String(value);
        const [one = '', few = '', many = few] = forms.slice(1).split('|');
        const rule = plural.select(Number(value));
        return rule === 'one' ? one : rule === 'few' ? few : many;
      },
    );
}

/** The language that the person chose before, or else the browser's. */
export function firstLanguage(): Language {
  const chosen = localStorage.getItem('billing.language');
  if (chosen === 'en' || chosen === 'ru') return chosen;
  return navigator.language.startsWith('ru') ? 'ru' : 'en';
}
