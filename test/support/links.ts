/** Links from page to page of what is written in Markdown. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';

/** Those of the pages there, and in its folder `docs`, that lead to no file or to no heading: `README.md: docs/away.md`. */
export function deadLinks(directory: string): string[] {
  const pages = ['', 'docs'].flatMap((folder) =>
    readdirSync(join(directory, folder), { withFileTypes: true })
      .filter((entry) => entry.isFile() && entry.name.endsWith('.md'))
      .map(({ name }) => join(folder, name)),
  );
  return pages.flatMap((page) =>
    [...prose(join(directory, page)).matchAll(/\]\(([^)\s]+)\)/g)]
      .map(([, target]) => target!)
      .filter((target) => !/^\w+:/.test(target) && !leadsSomewhere(directory, page, target))
      .map((target) => `${page}: ${target}`),
  );
}

function leadsSomewhere(directory: string, page: string, target: string): boolean {
  const [path, anchor] = target.split('#') as [string, string?];
  const file = path === '' ? page : normalize(join(dirname(page), path));
  if (file.startsWith('..') || !existsSync(join(directory, file))) return false;
  return anchor === undefined || anchors(join(directory, file)).includes(anchor);
}

/** Of its headings, as the hosts of repositories make them. */
function anchors(file: string): string[] {
  return [...prose(file).matchAll(/^#+ (.*)$/gm)].map(([, heading]) =>
    heading!
      .trim()
      .toLowerCase()
      .replace(/[^\p{L}\p{N}_\- ]/gu, '')
      .replaceAll(' ', '-'),
  );
}

/** A page without its examples. */
function prose(file: string): string {
  return readFileSync(file, 'utf8').replace(/^```[^]*?^```/gm, '');
}
