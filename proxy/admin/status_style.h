#pragma once

#include <string_view>

namespace starttls {

/// The style of the status page. Narrow windows show each row of a table as a block. Colours repeat
/// only what words say.
inline constexpr std::string_view kStatusStyle = R"css(
:root {
  color-scheme: light dark;
  --page: #f6f7f8; --card: #fff; --text: #1f2328; --quiet: #59636e; --line: #dfe3e8;
  --good: #1a7f37; --warn: #8a5700; --bad: #c1121f; --link: #0b57d0;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #14171a; --card: #1c2126; --text: #e3e7eb; --quiet: #9aa5b1; --line: #303840;
    --good: #57c96d; --warn: #e2b340; --bad: #ff8078; --link: #8ab4f8;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0 auto; padding: 1.5rem; max-width: 76rem; background: var(--page); color: var(--text);
  font: 15px/1.5 system-ui, "Segoe UI", "Helvetica Neue", "DejaVu Sans", sans-serif;
}
a { color: var(--link); }
small, .quiet { color: var(--quiet); font-size: .87em; font-weight: normal; }
small { display: block; }
header { display: flex; flex-wrap: wrap; align-items: baseline; gap: .25rem 1rem; }
h1 { font-size: 1.5rem; margin: 0; }
h2 { font-size: 1.05rem; margin: 2rem 0 .5rem; }
p { margin: .25rem 0; }
.good { color: var(--good); } .warn { color: var(--warn); } .bad { color: var(--bad); }
.word { font-weight: 600; white-space: nowrap; }
.word::before { content: "\25CF"; margin-right: .35em; }
.note { background: var(--card); border: 1px solid var(--line); border-left: 4px solid var(--bad);
  border-radius: 6px; padding: .6rem 1rem; margin-top: 1rem; overflow-wrap: anywhere; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(8.5rem, 1fr)); gap: .75rem;
  margin: 1.25rem 0 0; }
.tiles div, .table { background: var(--card); border: 1px solid var(--line); border-radius: 8px; }
.tiles div { padding: .7rem 1rem; }
.tiles dt { color: var(--quiet); font-size: .87em; }
.tiles dd { margin: 0; font-size: 1.6rem; font-variant-numeric: tabular-nums; line-height: 1.3; }
.tiles dd small { font-size: .54em; line-height: 1.5; }
.table { overflow: hidden; }
table { width: 100%; border-collapse: collapse; }
th, td { text-align: left; vertical-align: top; padding: .5rem 1rem; overflow-wrap: break-word; }
th { color: var(--quiet); font-size: .87em; font-weight: normal; white-space: nowrap; }
td.long, .tiles dd { overflow-wrap: anywhere; }
tbody tr { border-top: 1px solid var(--line); }
td.count, th.count { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
td.name { font-weight: 600; }
td.time { white-space: nowrap; font-variant-numeric: tabular-nums; }
footer { margin-top: 2rem; color: var(--quiet); font-size: .87em; }
@media (max-width: 54rem) {
  body { padding: 1rem; }
  thead { display: none; }
  tr, td { display: block; }
  tbody tr { padding: .5rem 0; }
  tbody tr:first-child { border-top: 0; }
  td, td.count { display: grid; grid-template-columns: 6.5rem 1fr; gap: .5rem; padding: .15rem 1rem;
    text-align: left; }
  td.time { white-space: normal; }
  td { overflow-wrap: anywhere; }
  td::before { content: attr(data-label); color: var(--quiet); font-size: .87em;
    font-weight: normal; }
}
)css";

}  // namespace starttls
