"""The style of the report: one column on a phone, two on a laptop, dark where the reader's system is."""

STYLE = """
:root { color-scheme: light dark; --ink: #1d2430; --soft: #5b6472; --line: #d5dae1; --paper: #fff; --card: #f6f8fa;
  --bar: #7aa6d8; --mark: #c2410c; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ee; --soft: #9aa4b2; --line: #3a424e; --paper: #14181e;
  --card: #1c222b; --bar: #4f7fb5; --mark: #fb923c; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1.2rem; max-width: 70rem; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.5rem; margin: 0 0 .3rem; overflow-wrap: anywhere; }
h2 { font-size: 1.15rem; margin: 2rem 0 .6rem; }
p { margin: .3rem 0 .8rem; max-width: 46rem; } .soft { color: var(--soft); overflow-wrap: anywhere; }
.figures { display: grid; gap: .8rem; grid-template-columns: repeat(auto-fit, minmax(11rem, 1fr)); }
.figure { background: var(--card); border-radius: .5rem; padding: .7rem .9rem; }
.figure b { display: block; font-size: 1.35rem; font-variant-numeric: tabular-nums; }
.grid { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fit, minmax(min(19rem, 100%), 1fr));
  align-items: start; }
figure { margin: 0; max-width: 34rem; padding: .6rem; border-radius: .5rem;
  background: var(--card); }
figcaption { font-size: .9rem; overflow-wrap: anywhere; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .92rem; }
th, td { padding: .25rem .8rem .25rem 0; text-align: right; border-bottom: 1px solid var(--line); white-space: nowrap; }
th:first-child, td:first-child { text-align: left; white-space: normal; overflow-wrap: anywhere; min-width: 7rem; }
svg { width: 100%; height: auto; display: block; } svg text { fill: var(--soft); font-size: 12px; }
svg .bar { fill: var(--bar); } svg .axis { stroke: var(--soft); } svg .grid { stroke: var(--line); }
svg .reference, svg .curve, svg .interval { fill: none; stroke: var(--mark); stroke-width: 2; }
svg .diagonal { stroke: var(--soft); stroke-dasharray: 4 4; } svg .point { fill: var(--mark); }
"""
