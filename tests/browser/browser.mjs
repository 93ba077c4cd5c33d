// Debian's Chromium, and pages that remember every fault.
import assert from 'node:assert/strict';
import {mkdtemp, readFile, rm} from 'node:fs/promises';
import {createRequire} from 'node:module';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import {chromium} from 'playwright-core';

const FLAGS = ['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
  '--disable-component-update', '--disable-sync'];
const LIMIT = 30_000;
const AXE = createRequire(import.meta.url).resolve('axe-core/axe.min.js');

export class Browser {
  static async start() {
    const browser = new Browser();
    browser.profile = await mkdtemp(join(tmpdir(), 'carillon-profile.'));
    browser.context = await chromium.launchPersistentContext(browser.profile, {executablePath: '/usr/bin/chromium', args: FLAGS, viewport: null});
    await browser.context.addInitScript(() => {
      window.faults = [];
      document.addEventListener('securitypolicyviolation', (event) => window.faults.push(`${event.violatedDirective} ${event.blockedURI}`));
    });
    return browser;
  }

  async stop() {
    await this.context.close().finally(() => rm(this.profile, {recursive: true, force: true}));
  }

  /** A tab, until the test ends. @param context of the test */
  async open(context, url, {width = 1280, height = 900, dark = false} = {}) {
    const page = await this.context.newPage();
    context.after(() => page.close());
    page.setDefaultTimeout(LIMIT);
    await page.setViewportSize({width, height});
    await page.emulateMedia({colorScheme: dark ? 'dark' : 'light', reducedMotion: 'reduce'});
    page.faults = [];
    page.on('pageerror', (error) => page.faults.push(String(error)));
    page.on('console', (message) => message.type() === 'error' && page.faults.push(message.text()));
    await page.goto(url);
    return page;
  }
}

/** @param expected faults of the network that the test itself causes */
export async function assertNoFaults(page, expected = /^$/) {
  const faults = [...page.faults, ...(await page.evaluate(() => window.faults))];
  assert.deepEqual(faults.filter((fault) => !expected.test(fault)), []);
}

export async function assertAccessible(page) {
  if (!(await page.evaluate(() => 'axe' in window))) await page.evaluate(await readFile(AXE, 'utf8'));
  const {violations} = await page.evaluate(() => window.axe.run({runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'best-practice']}));
  assert.deepEqual(violations.map(({id, nodes}) => `${id}: ${nodes.map(({html}) => html).slice(0, 3).join(' ')}`), []);
}

export async function assertFits(page) {
  assert.deepEqual(await page.evaluate(() => ({sideways: document.documentElement.scrollWidth - document.documentElement.clientWidth})), {sideways: 0});
}
