// The record of replays, purges and exports.
import {call} from './connect.js';
import {byId, element, setText, state, tableRow} from './dom.js';
import {length, time, word} from './format.js';
import {inWords} from './letter_filter.js';
import {countsOf, resumeReplay} from './replay_dialog.js';
import {appHeaders} from './session.js';

const KIND = {done: 'good', running: 'idle', interrupted: 'warn', failing: 'bad'};

/** @param {any} replay */
function row(replay) {
  const name = word(replay.state, 'REPLAY_STATE');
  const took = replay.finishTime ? `; took ${length((Date.parse(replay.finishTime) - Date.parse(replay.startTime)) / 1000)}` : '';
  const canGoOn = replay.kind !== 'purge' && replay.kind !== 'export' && (name === 'interrupted' || name === 'failing');
  const result = countsOf(replay).map(([what, amount]) => `${what}: ${amount}`).join('; ');
  const goOn = canGoOn ? element('button', {type: 'button', class: 'small', onclick: () => resumeReplay(replay)}, 'Go on') : null;
  return tableRow(byId('replays'), [time(replay.startTime), replay.kind ?? 'replay', `${replay.operator || '-'}: ${replay.reason ?? ''}`,
    inWords(replay.filter), `${result}${took}${replay.detail ? `. ${replay.detail}` : ''}`,
    element('span', {class: 'actions'}, state(KIND[name] ?? 'idle', name), goOn)]);
}

export async function showReplays() {
  setText(byId('replays-error'), '');
  try {
    const {replays = []} = await call('AdminService/ListReplays', {pageSize: 50}, appHeaders());
    byId('replays').tBodies[0].replaceChildren(...replays.map(row));
    byId('replays').hidden = replays.length === 0;
    byId('no-replays').hidden = replays.length > 0;
  } catch (error) {
    setText(byId('replays-error'), `That did not work: ${error.message}.`);
  }
}

document.addEventListener('replayed', () => { if (!byId('view-replays').hidden) showReplays(); });
