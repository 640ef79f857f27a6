"""The cells of the corpus, and the verdict that an analyst would give each after a second run, unchanged or changed.

`make_corpus.py` runs them. A cell that runs again unchanged must get `again`; each of its changes (the replaced part of
its code and the replacement) must get `different`, or the verdict in third place.
"""

# A cell is on one line, so that its changes can be read next to it.
# ruff: noqa: E501

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

Change = tuple[str, str] | tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class Case:
    """One cell, its verdict after a second run, and changes of its code."""

    library: str
    name: str
    code: str
    again: str = "same"
    changes: dict[str, Change] = field(default_factory=dict)


FRAME = """
import pandas as pd
df = pd.DataFrame({
    "day": pd.date_range("2024-03-01", periods=6),
    "shop": ["Bonn", "Cologne", "Bonn", "Kiel", "Kiel", "Bonn"],
    "sold": [12, 7, 31, 18, 5, 22],
    "price": [19.99, 24.5, 19.99, 149.0, 12.25, 18.75],
    "share": [0.12345678, 0.07654321, 0.31415926, 0.18181818, 0.05050505, 0.22222222],
})
"""
NUMPY = "import numpy as np\nrng = np.random.default_rng(7)\n"
PLOT = "import matplotlib.pyplot as plt, numpy as np\nfig, ax = plt.subplots(figsize=(4, 3), dpi=50)\n"
SVG = "%config InlineBackend.figure_formats = ['svg']\n" + PLOT + "plt.rcParams['svg.fonttype'] = 'none'\n"
SVG_END = "\nplt.show()\n%config InlineBackend.figure_formats = ['png']\n"
IRIS = "from sklearn.datasets import load_iris\nX, y = load_iris(return_X_y=True)\n"

PANDAS: Final = [
    Case(
        "pandas",
        "table",
        FRAME + "df",
        changes={
            "a date moved by a day": ("2024-03-01", "2024-03-02"),
            "a count changed": ("31", "32"),
            "a price changed": ("24.5", "24.6"),
            "a cent changed": ("149.0", "149.01"),
            "a shop changed": ('"Kiel", "Kiel"', '"Kiel", "Bonn"'),
            "a row missing": ("})\n", "}).iloc[:5]\n"),
            "a column missing": ("})\n", "}).drop(columns='sold')\n"),
            "a column renamed": ('"sold"', '"bought"'),
            "a share changed": ("0.31415926", "0.31425926"),
            "rounding noise": ("0.31415926", "0.314159260001", "same"),
            "a share changed in the sixth place": ("0.31415926", "0.31415826", "drift"),
        },
    ),
    Case(
        "pandas",
        "printed table",
        FRAME + "print(df.to_string())",
        changes={
            "a date moved by a day": ("2024-03-01", "2024-02-29"),
            "a count changed": ("[12, 7", "[12, 8"),
            "a price changed": ("12.25", "12.35"),
            "a share in its seventh place": ("0.31415926", "0.31415936", "drift"),
            "a row more": ("df.to_string()", "pd.concat([df, df[:1]]).to_string()"),
        },
    ),
    Case(
        "pandas",
        "description",
        FRAME + "print(df.describe())",
        changes={
            "a count changed": ("31", "13"),
            "rows dropped": ("})\n", "}).dropna().iloc[1:]\n"),
        },
    ),
    Case(
        "pandas",
        "groups",
        FRAME + "df.groupby('shop')['sold'].sum()",
        changes={
            "a count changed": ("18, 5", "18, 6"),
            "mean for sum": (".sum()", ".mean()"),
        },
    ),
    Case(
        "pandas",
        "value counts",
        FRAME + "df['shop'].value_counts()",
        changes={
            "a shop changed": ('"Cologne"', '"Bonn"'),
        },
    ),
    Case("pandas", "info", FRAME + "df.info()", changes={"a type changed": ("149.0", "None")}),
    Case(
        "pandas",
        "pivot",
        FRAME + "df.pivot_table(index='shop', values='price', aggfunc=['mean', 'std'])",
        changes={
            "a price changed": ("149.0", "148.0"),
        },
    ),
    Case(
        "pandas",
        "correlation",
        FRAME + "df[['sold', 'price', 'share']].corr()",
        changes={
            "a count changed": ("[12, 7", "[12, 9"),
        },
    ),
    Case(
        "pandas",
        "styler",
        FRAME + "df.style.background_gradient(subset=['sold']).format({'price': '{:.2f} EUR'})",
        "cosmetic",
        {
            "a price changed": ("12.25", "12.26"),
            "a count changed": ("31", "30"),
            "a unit changed": ("EUR", "USD"),
            "another colour map": ("subset=['sold']", "subset=['sold'], cmap='Reds'"),
        },
    ),
    Case(
        "pandas",
        "styler with bars",
        FRAME + "df.style.bar(subset=['share']).hide(axis='index')",
        "cosmetic",
        {
            "a share changed": ("0.05050505", "0.06050505"),
        },
    ),
    Case(
        "pandas",
        "styler of extremes",
        FRAME + "df.style.highlight_max(subset=['sold'], color='lime').set_caption('Sales 2024')",
        "cosmetic",
        {
            "the caption changed": ("Sales 2024", "Sales 2023"),
            "another maximum is marked": ("highlight_max", "highlight_min"),
        },
    ),
    Case(
        "pandas",
        "series",
        FRAME + "df['share'].cumsum()",
        changes={
            "the order changed": ("df['share']", "df['share'][::-1]"),
            "noise of rounding": ("0.12345678", "0.12345681", "drift"),
        },
    ),
    Case(
        "pandas",
        "timestamps as data",
        FRAME + "print(df['day'].max(), df['day'].dt.day_name().tolist())",
        changes={
            "a day later": ("2024-03-01", "2024-03-02"),
        },
    ),
    Case(
        "pandas",
        "time of running in a table",
        "import pandas as pd\npd.DataFrame({'loaded': [pd.Timestamp.now()], 'rows': [120]})",
        "cosmetic",
        {
            "a count changed": ("120", "121"),
            "the time is an hour off": ("pd.Timestamp.now()", "pd.Timestamp.now() - pd.Timedelta('1h')"),
            "yesterday": ("pd.Timestamp.now()", "pd.Timestamp.now() - pd.Timedelta('1D')"),
        },
    ),
    Case(
        "pandas",
        "dates up to today",
        "import pandas as pd\nprint(pd.Series(range(3), pd.date_range(end='2025-05-05', periods=3)))",
        changes={
            "a day earlier": ("2025-05-05", "2025-05-04"),
        },
    ),
    Case(
        "pandas",
        "markdown",
        FRAME + "print(df[['shop', 'sold']].to_csv(index=False))",
        changes={
            "a count changed": ("22]", "21]"),
            "another separator": ("index=False", "index=False, sep=';'"),
        },
    ),
    Case(
        "pandas",
        "json",
        FRAME + "print(df.to_json(orient='records', indent=1))",
        "cosmetic",
        {
            "a price changed": ("24.5", "24.55"),
            "a date moved by a day": ("2024-03-01", "2024-03-02"),
        },
    ),
    Case(
        "pandas",
        "html table",
        FRAME + "from IPython.display import HTML\nHTML(df.to_html(border=0, index=False))",
        changes={
            "a count changed": ("12, 7", "11, 7"),
            "two columns exchanged": ("df.to_html(", "df[['shop', 'day', 'sold', 'price', 'share']].to_html("),
        },
    ),
    Case(
        "pandas",
        "time deltas",
        FRAME + "print((df['day'] - df['day'][0]).to_string())",
        changes={
            "other days": ("periods=6", "periods=6, freq='2D'"),
        },
    ),
    Case(
        "pandas",
        "missing values",
        FRAME + "df.loc[2, 'price'] = None\ndf['price']",
        changes={
            "another one is missing": ("loc[2", "loc[3"),
            "none is missing": ("df.loc[2, 'price'] = None", ""),
        },
    ),
    Case(
        "pandas",
        "categories",
        FRAME + "df['shop'].astype('category')",
        changes={
            "one category less": ('"Cologne"', '"Kiel"'),
        },
    ),
    Case(
        "pandas",
        "a key that is missing",
        FRAME + "df['profit']",
        "same_error",
        {
            "another key is missing": ("'profit'", "'margin'"),
            "the key is there": ("'profit'", "'sold'", "fixed"),
        },
    ),
    Case(
        "pandas",
        "a warning of pandas",
        """
import warnings
import pandas as pd
print(pd.to_datetime(pd.Series(["13/01/2024", "02/03/2024"])).tolist())
""",
        "cosmetic",
        {"another date": ("02/03/2024", "02/04/2024")},
    ),
]

NUMERIC: Final = [
    Case(
        "numpy",
        "array",
        NUMPY + "rng.normal(size=(3, 4))",
        changes={
            "another seed": ("default_rng(7)", "default_rng(8)"),
            "noise of rounding": ("rng.normal(size=(3, 4))", "rng.normal(size=(3, 4)) * (1 + 3e-8)", "drift"),
            "a sign changed": ("rng.normal(size=(3, 4))", "-rng.normal(size=(3, 4))"),
            "a shape changed": ("(3, 4)", "(4, 3)"),
            "a hundredth more": ("rng.normal(size=(3, 4))", "rng.normal(size=(3, 4)) * 1.01"),
        },
    ),
    Case(
        "numpy",
        "integers",
        NUMPY + "rng.integers(0, 1000, (4, 5))",
        changes={
            "one more": ("(4, 5))", "(4, 5)) + np.eye(4, 5, dtype=int)"),
            "a float type": ("(4, 5))", "(4, 5)).astype(float)"),
        },
    ),
    Case(
        "numpy",
        "a mean",
        NUMPY + "x = rng.normal(3, 1, 1000)\nprint('mean', x.mean(), 'std', x.std())",
        changes={
            "another order of adding up": ("print(", "x = x[::-1].copy(); x[0] += 1e-12; print(", "drift"),
            "one value more": ("1000", "1001"),
        },
    ),
    Case(
        "numpy",
        "float32",
        NUMPY + "x = rng.normal(size=5000).astype('float32')\nprint(float(x.sum()), x[:3])",
        changes={
            "summed one by one": ("x.sum()", "x.cumsum()[-1]"),
            "another seed": ("(7)", "(9)"),
        },
    ),
    Case(
        "numpy",
        "a sum of tenths",
        "print(0.1 + 0.2)",
        changes={
            "added the other way": ("0.1 + 0.2", "0.15 + 0.15", "drift"),
            "another sum": ("0.1 + 0.2", "0.1 + 0.201"),
        },
    ),
    Case(
        "numpy",
        "versions",
        "print('numpy 2.4.1, python 3.11, file v1.234')",
        changes={
            "a patch release": ("2.4.1", "2.4.2"),
            "a minor release": ("3.11", "3.12"),
            "a file's version": ("v1.234", "v1.235"),
        },
    ),
    Case(
        "numpy",
        "addresses of the net",
        "print('server 10.1.255.17 port 8080')",
        changes={
            "another host": ("255.17", "255.18"),
            "another port": ("8080", "8081"),
        },
    ),
    Case(
        "numpy",
        "a hash",
        "import hashlib\nprint(hashlib.sha256(b'data').hexdigest()[:16])",
        changes={
            "other data": ("b'data'", "b'date'"),
        },
    ),
    Case(
        "numpy",
        "linear algebra",
        NUMPY + "a = rng.normal(size=(5, 5))\nprint(np.linalg.eigvalsh(a + a.T))",
        changes={
            "noise": ("a + a.T", "a + a.T + 1e-9", "drift"),
            "another matrix": ("a + a.T", "a + a.T + 1e-2"),
        },
    ),
    Case(
        "numpy",
        "small numbers",
        "print(1.602176634e-19, 6.62607015e-34, 1e-05)",
        changes={
            "another constant": ("6.62607015", "6.62707015"),
            "another power": ("1e-05", "1e-06"),
        },
    ),
    Case(
        "numpy",
        "money",
        "print(f'total ${12345.678:.2f}, fee 1,234.50 EUR, rate €3.1250')",
        changes={
            "a cent": ("12345.678", "12345.689"),
            "a fee": ("1,234.50", "1,234.60"),
            "a rate": ("3.1250", "3.1251"),
        },
    ),
    Case(
        "numpy",
        "units",
        "print('distance 12.345678 km, 25.1250 °C')",
        changes={
            "a unit": ("km", "mi"),
            "a hundredth of a degree": ("25.1250", "25.1350"),
            "less than a printed place": ("12.345678", "12.345679", "drift"),
        },
    ),
    Case(
        "numpy",
        "prose with seconds",
        "print('the pump starts after 3.25 s and stops after 14 s')",
        changes={
            "other seconds": ("3.25 s", "3.75 s"),
            "other whole seconds": ("14 s", "15 s"),
        },
    ),
    Case(
        "numpy",
        "times as data",
        "print('train 1 leaves at 09:15:00 on 2024-05-01, train 2 at 10:45:30')",
        changes={
            "a train is later": ("09:15:00", "09:25:00"),
            "another day": ("2024-05-01", "2024-05-02"),
        },
    ),
    Case(
        "numpy",
        "a matrix product that fails",
        "import numpy as np\nnp.ones((2, 3)) @ np.ones((2, 3))",
        "same_error",
        {
            "another shape": ("@ np.ones((2, 3))", "@ np.ones((4, 3))"),
            "it fits": ("@ np.ones((2, 3))", "@ np.ones((3, 2))", "fixed"),
        },
    ),
    Case(
        "numpy",
        "a division that warns",
        "import numpy as np\nnp.array([1.0, 2.0]) / np.array([0.0, 2.0])",
        "cosmetic",
        {
            "no zero, no warning": ("[0.0, 2.0]", "[1.0, 2.0]"),
        },
    ),
    Case(
        "numpy",
        "not a number",
        "import numpy as np\nprint(np.array([1.5, np.nan, np.inf]))",
        changes={
            "a number": ("np.nan", "2.5"),
        },
    ),
    Case(
        "numpy",
        "a number near zero",
        "print('slope', 1.234567e-3, 'p', 0.0004)",
        changes={
            "a p value": ("0.0004", "0.0005"),
            "a slope": ("1.234567e-3", "1.234667e-3"),
        },
    ),
]

PLOTS: Final = [
    Case(
        "matplotlib",
        "line",
        PLOT + "ax.plot([1, 2, 3, 4], [10, 30, 20, 25])\nax.set_title('Sales 2024')\nplt.show()",
        changes={
            "a digit of the title": ("Sales 2024", "Sales 2023"),
            "a digit much alike": ("Sales 2024", "Sales 2824"),
            "a moved point": ("20, 25]", "21, 25]"),
            "a point moved by very little": ("20, 25]", "20.001, 25]", "drift"),
            "another colour": ("25])", "25], color='tab:orange')"),
            "dashes": ("25])", "25], '--')"),
            "another size": ("figsize=(4, 3)", "figsize=(4, 3.1)"),
        },
    ),
    Case(
        "matplotlib",
        "scatter",
        PLOT + NUMPY + "ax.scatter(rng.normal(size=30), rng.normal(size=30), s=12)\nplt.show()",
        changes={
            "other data": ("default_rng(7)", "default_rng(17)"),
            "one point less": ("rng.normal(size=30), rng.normal(size=30)", "*rng.normal(size=(2, 30))[:, :29]"),
            "larger points": ("s=12", "s=16"),
        },
    ),
    Case(
        "matplotlib",
        "faint scatter",
        PLOT
        + "ax.scatter([1, 2, 3, 4], [1, 4, 2, 3], s=20, alpha=0.1)\nax.set_xlim(0, 5); ax.set_ylim(0, 5)\nplt.show()",
        changes={"a faint point moved": ("4, 2, 3]", "4, 2.5, 3]")},
    ),
    Case(
        "matplotlib",
        "bars",
        PLOT + "ax.bar(['a', 'b', 'c'], [3, 7, 5])\nax.set_ylabel('kg')\nplt.show()",
        changes={
            "a bar's height": ("7, 5]", "7, 5.2]"),
            "a unit": ("'kg'", "'lb'"),
            "a name": ("'c'", "'e'"),
        },
    ),
    Case(
        "matplotlib",
        "histogram",
        PLOT + NUMPY + "ax.hist(rng.normal(size=500), bins=20)\nplt.show()",
        changes={
            "other bins": ("bins=20", "bins=21"),
            "one value more": ("size=500", "size=501"),
        },
    ),
    Case(
        "matplotlib",
        "heat map",
        PLOT + "ax.imshow(np.arange(20).reshape(4, 5))\nplt.show()",
        changes={
            "one cell": ("reshape(4, 5)", "reshape(4, 5) + np.eye(4, 5)"),
            "one cell, hardly": ("reshape(4, 5)", "reshape(4, 5) + np.eye(4, 5) * 0.5"),
        },
    ),
    Case(
        "matplotlib",
        "axes",
        PLOT + "ax.plot([0, 1], [0, 1000])\nax.set_xlabel('time (s)')\nplt.show()",
        changes={
            "a unit": ("time (s)", "time (h)"),
            "a scale": ("[0, 1000]", "[0, 2000]"),
            "logarithmic": ("plt.show()", "ax.set_yscale('symlog'); plt.show()"),
        },
    ),
    Case(
        "matplotlib",
        "two lines with a legend",
        PLOT
        + "ax.plot([1, 3, 2], label='north')\nax.plot([2, 1, 3], label='south')\nax.legend(fontsize=7)\nplt.show()",
        changes={
            "names exchanged": (
                "label='north')\nax.plot([2, 1, 3], label='south')",
                "label='south')\nax.plot([2, 1, 3], label='north')",
            ),
            "a line missing": ("ax.plot([2, 1, 3], label='south')", ""),
        },
    ),
    Case(
        "matplotlib",
        "filled area",
        PLOT + "ax.fill_between([0, 1, 2], [1, 2, 1], alpha=0.08)\nplt.show()",
        changes={
            "another area": ("[1, 2, 1]", "[1, 2, 1.2]"),
        },
    ),
    Case(
        "matplotlib",
        "two figures",
        PLOT + "ax.plot([1, 2])\nplt.show()\nplt.figure(figsize=(2, 2), dpi=50)\nplt.plot([2, 1])\nplt.show()",
        changes={"one figure": ("plt.plot([2, 1])\nplt.show()", "plt.close()")},
    ),
    Case(
        "matplotlib",
        "figure and text",
        PLOT + "ax.plot([1, 2, 1])\nplt.show()\nprint('n = 3')",
        changes={
            "the text": ("n = 3", "n = 4"),
            "no figure": ("plt.show()", "plt.close()"),
        },
    ),
    Case(
        "matplotlib",
        "jpeg",
        PLOT
        + "ax.plot([1, 3, 2])\nfrom io import BytesIO\nfrom IPython.display import Image\nb = BytesIO()\nfig.savefig(b, format='jpeg')\nplt.close()\nImage(b.getvalue(), format='jpeg')",
        changes={"a point": ("[1, 3, 2]", "[1, 3, 2.5]")},
    ),
    Case(
        "matplotlib",
        "compressed otherwise",
        PLOT
        + "ax.plot([1, 3, 2])\nfrom io import BytesIO\nfrom IPython.display import Image\nb = BytesIO()\nlevel = 6\nfig.savefig(b, pil_kwargs={'compress_level': level})\nplt.close()\nImage(b.getvalue())",
        changes={"another level": ("level = 6", "level = 1", "cosmetic")},
    ),
    Case(
        "matplotlib",
        "title with noise",
        PLOT + "y = np.sin(np.linspace(0, 6, 50))\nax.plot(y)\nplt.show()",
        changes={
            "noise of rounding": ("ax.plot(y)", "ax.plot(y * (1 + 1e-5))", "drift"),
            "a percent more": ("ax.plot(y)", "ax.plot(np.append(y[:-1], y[-1] * 1.2))"),
        },
    ),
    Case(
        "matplotlib",
        "list of artists",
        PLOT + "ax.plot([1, 2])",
        "cosmetic",
        {"two lines": ("[1, 2]", "[1, 2], [3, 4], [2, 2]")},
    ),
    Case(
        "matplotlib",
        "text in a plot",
        PLOT + "ax.text(0.5, 0.5, 'r = 0.83', fontsize=8)\nplt.show()",
        changes={
            "a digit": ("0.83", "0.88"),
            "another digit": ("0.83", "0.93"),
        },
    ),
    Case(
        "matplotlib",
        "svg line",
        SVG + "ax.plot([1, 2, 3, 4], [10, 30, 20, 25])\nax.set_title('Sales 2024')" + SVG_END,
        "cosmetic",
        {
            "a digit of the title": ("Sales 2024", "Sales 2023"),
            "a moved point": ("20, 25]", "21, 25]"),
            "a unit in the title": ("Sales 2024", "Sales 2024 (k)"),
            "a hair's breadth": ("20, 25]", "20.00005, 25]", "drift"),
        },
    ),
    Case(
        "matplotlib",
        "svg scatter",
        SVG + "ax.scatter([1, 2, 3], [3, 1, 2])" + SVG_END,
        "cosmetic",
        {
            "a point": ("3, 1, 2]", "3, 1, 2.2]"),
            "another colour": ("3, 1, 2]", "3, 1, 2], color='red'"),
        },
    ),
    Case(
        "matplotlib",
        "svg bars",
        SVG + "ax.bar(['a', 'b'], [3, 7])" + SVG_END,
        "cosmetic",
        {
            "a bar": ("[3, 7]", "[3, 6]"),
            "a name": ("'b'", "'d'"),
        },
    ),
    Case(
        "matplotlib",
        "svg histogram",
        SVG + NUMPY + "ax.hist(rng.normal(size=50), bins=5)" + SVG_END,
        "cosmetic",
        {
            "other data": ("(7)", "(70)"),
        },
    ),
    Case(
        "matplotlib",
        "svg legend",
        SVG + "ax.plot([1, 3], label='north')\nax.legend()" + SVG_END,
        "cosmetic",
        {
            "a name": ("north", "south"),
        },
    ),
    Case(
        "seaborn",
        "regression",
        "import seaborn as sns, numpy as np\nimport matplotlib.pyplot as plt\nplt.figure(figsize=(4, 3), dpi=50)\nx = np.arange(20)\nsns.regplot(x=x, y=x % 7, ci=None)\nplt.show()",
        changes={"other data": ("x % 7", "x % 8")},
    ),
]

LEARNING: Final = [
    Case(
        "scikit-learn",
        "model",
        "from sklearn.linear_model import LogisticRegression\nLogisticRegression(C=0.5)",
        "cosmetic",
        {
            "a parameter": ("C=0.5", "C=0.6"),
        },
    ),
    Case(
        "scikit-learn",
        "pipeline in text",
        "from sklearn.pipeline import make_pipeline\nfrom sklearn.preprocessing import StandardScaler\nfrom sklearn.svm import SVC\nprint(make_pipeline(StandardScaler(), SVC(gamma=0.25)))",
        changes={"a parameter": ("gamma=0.25", "gamma=0.5"), "a step": ("StandardScaler(), ", "")},
    ),
    Case(
        "scikit-learn",
        "fitted model",
        IRIS
        + "from sklearn.tree import DecisionTreeClassifier\nDecisionTreeClassifier(max_depth=2, random_state=0).fit(X, y)",
        "cosmetic",
        {"a parameter": ("max_depth=2", "max_depth=3")},
    ),
    Case(
        "scikit-learn",
        "score",
        IRIS
        + "from sklearn.linear_model import LogisticRegression\nm = LogisticRegression(max_iter=500).fit(X, y)\nprint(f'accuracy {m.score(X, y):.4f}')\nprint(m.coef_)",
        changes={
            "fewer rows": (".fit(X, y)", ".fit(X[::2], y[::2])"),
            "a solver that stopped elsewhere": (".fit(X, y)", ".fit(X * (1 + 1e-9), y)"),
            "weaker": ("max_iter=500", "max_iter=500, C=0.9"),
        },
    ),
    Case(
        "scikit-learn",
        "report",
        IRIS
        + "from sklearn.metrics import classification_report\nprint(classification_report(y, (X[:, 2] > 2).astype(int) + (X[:, 2] > 4.8)))",
        changes={"another threshold": ("4.8", "4.9")},
    ),
    Case(
        "scikit-learn",
        "confusion",
        IRIS
        + "from sklearn.metrics import confusion_matrix\nconfusion_matrix(y, (X[:, 2] > 2).astype(int) + (X[:, 2] > 4.8))",
        changes={"another threshold": ("4.8", "4.9")},
    ),
    Case(
        "scikit-learn",
        "cross validation",
        IRIS
        + "from sklearn.model_selection import cross_val_score\nfrom sklearn.tree import DecisionTreeClassifier\nprint(cross_val_score(DecisionTreeClassifier(random_state=1), X, y, cv=3))",
        changes={"another seed": ("random_state=1", "random_state=5, max_depth=1")},
    ),
    Case(
        "scikit-learn",
        "verbose search",
        IRIS
        + "from sklearn.model_selection import GridSearchCV\nfrom sklearn.tree import DecisionTreeClassifier\ng = GridSearchCV(DecisionTreeClassifier(random_state=0), {'max_depth': [1, 2]}, cv=2, verbose=3).fit(X, y)\nprint(g.best_params_)",
        "cosmetic",
        {"other folds": ("cv=2", "cv=3"), "another parameter": ("[1, 2]", "[1, 3]")},
    ),
    Case(
        "scikit-learn",
        "verbose parallel",
        "from joblib import Parallel, delayed\nprint(Parallel(n_jobs=1, verbose=1)(delayed(pow)(i, 2) for i in range(5)))",
        "cosmetic",
        {"one more": ("range(5)", "range(6)")},
    ),
    Case(
        "scikit-learn",
        "verbose pipeline",
        IRIS
        + "from sklearn.pipeline import Pipeline\nfrom sklearn.preprocessing import StandardScaler\nfrom sklearn.svm import SVC\nPipeline([('scale', StandardScaler()), ('svc', SVC())], verbose=True).fit(X, y).score(X, y)",
        "cosmetic",
        {"another model": ("SVC())", "SVC(C=0.01))")},
    ),
    Case(
        "scikit-learn",
        "times of fitting",
        IRIS
        + "from sklearn.model_selection import cross_validate\nfrom sklearn.tree import DecisionTreeClassifier\ncross_validate(DecisionTreeClassifier(random_state=0), X, y, cv=3)",
        "cosmetic",
        {"other scores": ("random_state=0", "random_state=0, max_depth=1")},
    ),
    Case(
        "scikit-learn",
        "boosting that talks",
        IRIS
        + "from sklearn.ensemble import GradientBoostingClassifier\nGradientBoostingClassifier(n_estimators=3, verbose=1, random_state=0).fit(X, y).score(X, y)",
        "cosmetic",
        {"another rate": ("n_estimators=3", "n_estimators=3, learning_rate=0.2")},
    ),
    Case(
        "scikit-learn",
        "clusters",
        IRIS
        + "from sklearn.cluster import KMeans\nm = KMeans(3, n_init=1, random_state=0).fit(X)\nprint(m.inertia_, m.cluster_centers_)",
        changes={"two clusters": ("KMeans(3", "KMeans(2")},
    ),
    Case(
        "scikit-learn",
        "not fitted",
        IRIS + "from sklearn.svm import SVC\nSVC().predict(X)",
        "same_error",
        {"fitted": ("SVC()", "SVC().fit(X, y)", "fixed")},
    ),
    Case(
        "statsmodels",
        "summary",
        NUMPY
        + "import statsmodels.api as sm\nx = rng.normal(size=(60, 2))\nprint(sm.OLS(x @ [1, 2] + rng.normal(size=60), sm.add_constant(x)).fit().summary())",
        "cosmetic",
        {"another slope": ("[1, 2]", "[1, 2.1]"), "fewer rows": ("size=60), sm.add_constant(x)", "size=60), x")},
    ),
    Case(
        "statsmodels",
        "summary in HTML",
        NUMPY
        + "import statsmodels.api as sm\nx = rng.normal(size=(60, 2))\nsm.OLS(x @ [1, 2] + rng.normal(size=60), x).fit().summary()",
        "cosmetic",
        {"another slope": ("[1, 2]", "[1, 2.1]")},
    ),
]

TIMES: Final = [
    Case(
        "ipython",
        "time",
        "%%time\nprint(sum(range(1000)))",
        "cosmetic",
        {"another sum": ("range(1000)", "range(1001)")},
    ),
    Case(
        "ipython",
        "time of a line",
        "%time x = [i for i in range(100000)]\nlen(x)",
        "cosmetic",
        {"another length": ("100000)", "100001)")},
    ),
    Case("ipython", "timeit", "%timeit -n 1000 -r 3 sum(range(50))", "cosmetic", {"other runs": ("-r 3", "-r 4")}),
    Case("ipython", "timeit by itself", "%timeit -r 2 pass", "cosmetic"),
    Case("ipython", "timeit of a millisecond", "%timeit -r 2 sum(range(30000))", "cosmetic"),
    Case(
        "time",
        "elapsed",
        "import time\nt = time.time()\nn = sum(range(300000))\nprint(f'elapsed: {time.time() - t:.4f} s, {n} summed')",
        "cosmetic",
        {"another sum": ("300000", "300001")},
    ),
    Case(
        "time",
        "took",
        "import time\nt = time.perf_counter()\nsorted(range(100000), key=lambda i: -i)\nprint('Sorting took', time.perf_counter() - t, 'seconds')",
        "cosmetic",
        {"another task": ("Sorting took", "Searching took")},
    ),
    Case(
        "time",
        "finished in",
        "import time\nt = time.perf_counter()\ntime.sleep(0.01)\nprint(f'12 files finished in {(time.perf_counter() - t) * 1000:.1f} ms')",
        "cosmetic",
        {"one file more": ("12 files", "13 files")},
    ),
    Case(
        "time",
        "epoch seconds",
        "import time\nprint(time.time())\nprint(int(time.time()))",
        "cosmetic",
        {"a day less": ("int(time.time())", "int(time.time() - 86400)")},
    ),
    Case(
        "time",
        "ctime",
        "import time\nprint('Report of', time.ctime())",
        "cosmetic",
        {"an hour more": ("time.ctime()", "time.ctime(time.time() + 3600)")},
    ),
    Case(
        "time",
        "iso",
        "from datetime import datetime, timezone\nprint(datetime.now(timezone.utc).isoformat(), '42 rows')",
        "cosmetic",
        {
            "other rows": ("42 rows", "43 rows"),
            "a fixed time": ("datetime.now(timezone.utc)", "datetime(2024, 1, 1, 12, 0, 0)"),
        },
    ),
    Case(
        "time",
        "repr",
        "from datetime import datetime\ndatetime.now()",
        "cosmetic",
        {"yesterday": ("datetime.now()", "datetime.fromtimestamp(datetime.now().timestamp() - 86400)")},
    ),
    Case(
        "time",
        "mail date",
        "from email.utils import formatdate\nprint('Date:', formatdate())",
        "cosmetic",
        {"a week ago": ("formatdate()", "formatdate(1700000000)")},
    ),
    Case(
        "time",
        "clock",
        "from datetime import datetime\nprint(f'[{datetime.now():%H:%M:%S}] loaded 512 records')",
        "cosmetic",
        {"other records": ("512", "513"), "a fixed time": ("%H:%M:%S", "03:04:05")},
    ),
    Case(
        "time",
        "date",
        "from datetime import date\nprint('As of', date.today())",
        "cosmetic",
        {"a fixed date": ("date.today()", "date(2024, 2, 29)")},
    ),
    Case(
        "time",
        "compact stamp",
        "import time\nprint('saved as run_' + time.strftime('%Y%m%d_%H%M%S') + '.csv')",
        "cosmetic",
        {"another name": (".csv", ".txt")},
    ),
    Case(
        "time",
        "half a day",
        "import time\nprint(time.strftime('%m/%d/%Y %I:%M:%S %p'))",
        "cosmetic",
        {"a fixed time": ("'%m/%d/%Y", "'01/02/2023")},
    ),
    Case(
        "logging",
        "lines with times",
        "import logging, sys\nlog = logging.getLogger('etl')\nlog.handlers = [logging.StreamHandler()]\nlog.handlers[0].setFormatter(logging.Formatter('%(asctime)s %(levelname)s %(name)s: %(message)s'))\nlog.warning('3 rows dropped')",
        "cosmetic",
        {"other rows": ("3 rows", "4 rows"), "another level": ("log.warning", "log.error")},
    ),
    Case(
        "logging",
        "a traceback in the log",
        "import logging\nlog = logging.getLogger('etl')\nlog.handlers = [logging.StreamHandler()]\ntry:\n    1 / 0\nexcept ZeroDivisionError:\n    log.exception('could not divide')",
        "cosmetic",
        {"another error": ("1 / 0", "int('x')  # 1 / 0", "error")},
    ),
    Case(
        "unittest",
        "tests",
        "import unittest\nclass T(unittest.TestCase):\n    def test_a(self): self.assertEqual(1, 1)\n    def test_b(self): self.assertTrue(True)\n_ = unittest.main(argv=[''], exit=False, defaultTest='T')",
        "cosmetic",
        {
            "a test less": ("    def test_b(self): self.assertTrue(True)\n", ""),
            "a failure": ("assertTrue(True)", "assertTrue(False)"),
        },
    ),
]

BARS: Final = [
    Case(
        "tqdm",
        "bar",
        "from tqdm import tqdm\nimport time\nfor i in tqdm(range(20), desc='reading'):\n    time.sleep(0.003)",
        "cosmetic",
        {
            "one more": ("range(20)", "range(21)"),
            "another name": ("reading", "writing"),
        },
    ),
    Case(
        "tqdm",
        "bar on stdout",
        "from tqdm import tqdm\nimport sys, time\nfor i in tqdm(range(8), file=sys.stdout):\n    time.sleep(0.01)\nprint('done 8')",
        "cosmetic",
        {
            "stopped before the end": ("    time.sleep(0.01)", "    time.sleep(0.01)\n    if i == 5: break"),
            "the text after": ("done 8", "done 9"),
        },
    ),
    Case(
        "tqdm",
        "bars in bars",
        "from tqdm import tqdm\nimport time\nfor i in tqdm(range(3), desc='outer'):\n    for j in tqdm(range(4), desc='inner', leave=False):\n        time.sleep(0.02)",
        "cosmetic",
        {
            "another count": ("range(3)", "range(4)"),
        },
    ),
    Case(
        "tqdm",
        "bars one after another",
        "from tqdm import tqdm\nimport time\nfor name in ['train', 'test']:\n    for j in tqdm(range(5), desc=name):\n        time.sleep(0.01)",
        "cosmetic",
        {
            "one bar less": ("['train', 'test']", "['train']"),
        },
    ),
    Case(
        "tqdm",
        "without a total",
        "from tqdm import tqdm\nimport time\nfor i in tqdm(iter(range(7))):\n    time.sleep(0.01)",
        "cosmetic",
        {"one more": ("range(7)", "range(8)")},
    ),
    Case(
        "tqdm",
        "with a loss",
        "from tqdm import tqdm\nimport time\nwith tqdm(range(5)) as bar:\n    for i in bar:\n        time.sleep(0.005)\n        bar.set_postfix(loss=1 / (i + 1))",
        "cosmetic",
        {"another loss": ("1 / (i + 1)", "1 / (i + 2)")},
    ),
    Case(
        "tqdm",
        "bytes",
        "from tqdm import tqdm\nimport time\nwith tqdm(total=3_000_000, unit='B', unit_scale=True, desc='get') as bar:\n    for _ in range(3):\n        time.sleep(0.01); bar.update(1_000_000)",
        "cosmetic",
        {"more bytes": ("3_000_000", "4_000_000")},
    ),
    Case(
        "keras-like",
        "steps",
        "import time\nfor epoch in range(2):\n    t = time.time()\n    for step in range(1, 5):\n        time.sleep(0.004)\n        dt = time.time() - t\n        print(f'\\r\\x1b[1m{step}/4\\x1b[0m \\x1b[32m━━━━━━━━\\x1b[0m \\x1b[1m{dt:.0f}s\\x1b[0m {dt / step * 1000:.0f}ms/step - loss: {1 / (epoch + step):.4f}', end='')\n    print()",
        "cosmetic",
        {"another loss": ("1 / (epoch + step)", "1.1 / (epoch + step)")},
    ),
]

REPRS: Final = [
    Case("python", "an object", "class Shop:\n    pass\nShop()", "cosmetic", {"another class": ("Shop", "Store")}),
    Case(
        "python",
        "functions",
        "def f(x): pass\nprint(f, [f], {'k': f})",
        "cosmetic",
        {"another function": ("def f(x): pass\nprint(f, [f]", "def f(x): pass\ndef g(x): pass\nprint(f, [g]")},
    ),
    Case(
        "python",
        "a generator",
        "print((i for i in range(3)))",
        "cosmetic",
        {"a map": ("(i for i in range(3))", "map(str, [])")},
    ),
    Case(
        "python",
        "a number in hexadecimal",
        "print(hex(3735928559), 'flags 0x7f001234')",
        changes={"another number": ("3735928559", "3735928560"), "other flags": ("0x7f001234", "0x7f001235")},
    ),
    Case(
        "python",
        "a set of strings",
        "print({'pear', 'apple', 'fig', 'plum', 'kiwi'})",
        "cosmetic",
        {"another fruit": ("'fig'", "'figs'"), "one less": ("'plum', ", "")},
    ),
    Case("python", "a set as result", "set('abcdefgh')", changes={"a letter more": ("abcdefgh", "abcdefghi")}),
    Case(
        "python",
        "sets in a dict",
        "print({'a': {'x', 'y', 'z'}, 'b': frozenset({'u', 'v', 'w'})})",
        "cosmetic",
        {"a key changed": ("'b'", "'c'"), "an element": ("'w'", "'q'")},
    ),
    Case(
        "python",
        "a set of tuples",
        "print({('Bonn', 3), ('Kiel', 4), ('Ulm', 1)})",
        "cosmetic",
        {"a count": ("('Kiel', 4)", "('Kiel', 5)")},
    ),
    Case(
        "python",
        "a list of strings",
        "print(['pear', 'apple', 'fig'])",
        changes={"another order": ("'pear', 'apple'", "'apple', 'pear'")},
    ),
    Case(
        "python",
        "a dict",
        "print({'pear': 1, 'apple': 2})",
        changes={"another order": ("'pear': 1, 'apple': 2", "'apple': 2, 'pear': 1"), "a count": ("2}", "3}")},
    ),
    Case(
        "python",
        "a list from a set",
        "print(sorted({'pear', 'apple', 'fig'}))",
        changes={"another fruit": ("'pear'", "'peach'")},
    ),
    Case(
        "python",
        "a set in prose",
        "tags = {'red', 'green', 'blue', 'grey'}\nprint(f'Tags: {tags} for 4 rows')",
        "cosmetic",
        {"other rows": ("4 rows", "5 rows")},
    ),
    Case(
        "python",
        "two sets exchanged",
        "a, b = {'k', 'l', 'm'}, {'n', 'o', 'p'}\nprint(a, b)",
        "cosmetic",
        {"exchanged": ("print(a, b)", "print(b, a)")},
    ),
    Case(
        "python",
        "sets of frozen sets",
        "print({frozenset({'a', 'b', 'c'}), frozenset({'d', 'e', 'f'})})",
        "cosmetic",
        {"an element": ("'f'", "'g'")},
    ),
    Case(
        "python",
        "trailing blanks",
        "print('total 7')\n",
        changes={"blanks at the end": ("total 7", "total 7   ", "cosmetic"), "indented": ("total 7", "  total 7")},
    ),
    Case("python", "nothing", "x = 1", changes={"an output": ("x = 1", "x = 1; print(x)")}),
    Case(
        "python",
        "one line more",
        "for i in range(5):\n    print('row', i)",
        changes={"one more": ("range(5)", "range(6)"), "one less": ("range(5)", "range(4)")},
    ),
    Case(
        "python",
        "both streams",
        "import sys\nfor i in range(3):\n    print('out', i)\n    print('err', i, file=sys.stderr)",
        changes={
            "one stream's": ("print('err', i,", "print('err', i + 1,"),
            "the other stream": (", file=sys.stderr", ""),
        },
    ),
    Case(
        "python",
        "a result in the text",
        "print('accuracy: 87%')\n'done'",
        changes={"a percent": ("87%", "88%"), "no result": ("'done'", "None")},
    ),
    Case(
        "python", "a missing word", "print('the model converged')", changes={"not": ("converged", "did not converge")}
    ),
    Case(
        "python",
        "an error",
        "raise ValueError('bad column 3')",
        "same_error",
        {
            "another message": ("column 3", "column 4"),
            "another error": ("ValueError", "KeyError"),
            "no error": ("raise ValueError('bad column 3')", "pass", "fixed"),
        },
    ),
    Case("python", "no error", "print('before')\nx = 1", changes={"an error": ("x = 1", "x = 1 / 0", "error")}),
    Case(
        "python", "an error after output", "print('rows', 10)\nint('ten')", "same_error", {"other output": ("10", "11")}
    ),
    Case(
        "python",
        "an error that names an object",
        "class A: pass\nA() + 1\n",
        "same_error",
        {"another operand": ("+ 1", "+ 'x'")},
    ),
    Case(
        "python",
        "an error with an address",
        "raise RuntimeError(f'lost {object()}')",
        "same_error",
        {"another object": ("object()", "iter([])")},
    ),
    Case(
        "python",
        "a file that is missing",
        "open('absent.csv')",
        "same_error",
        {"another file": ("absent.csv", "missing.csv")},
    ),
    Case(
        "python",
        "a traceback printed",
        "import traceback\ntry:\n    {}['key']\nexcept KeyError:\n    traceback.print_exc()",
        "cosmetic",
        {"another key": ("'key'", "'lock'")},
    ),
    Case(
        "warnings",
        "a user warning",
        "import warnings\nwarnings.simplefilter('always')\nwarnings.warn('7 rows have no price')",
        "cosmetic",
        {"other rows": ("7 rows", "8 rows"), "another category": ("price')", "price', FutureWarning)")},
    ),
    Case(
        "tempfile",
        "a directory",
        "import tempfile\nprint(tempfile.mkdtemp())",
        "cosmetic",
        {"a fixed one": ("tempfile.mkdtemp()", "'/tmp/results'")},
    ),
    Case(
        "tempfile",
        "a file",
        "import tempfile\nf = tempfile.NamedTemporaryFile(suffix='.csv')\nprint('wrote', f.name, '12 rows')",
        "cosmetic",
        {"another kind": (".csv", ".txt"), "other rows": ("12 rows", "13 rows")},
    ),
    Case(
        "tempfile",
        "files in it",
        "import tempfile, os\nd = tempfile.mkdtemp()\nprint(os.path.join(d, 'a.csv'))\nprint(os.path.join(d, 'b.csv'))",
        "cosmetic",
        {
            "another name": ("b.csv", "c.csv"),
            "another directory": ("os.path.join(d, 'b.csv')", "os.path.join(tempfile.mkdtemp(), 'b.csv')"),
        },
    ),
    Case(
        "python",
        "names that begin with tmp",
        "print('/tmp/tmp_results, tmpdownload1')",
        changes={
            "another name": ("tmp_results", "tmp_summary"),
            "without a directory": ("tmpdownload1", "tmpbackupss1"),
        },
    ),
    Case(
        "os",
        "the working directory",
        "import os\nprint(os.getcwd())\nprint(os.path.abspath('data/sales.csv'))",
        "cosmetic",
        {"another file": ("sales.csv", "costs.csv")},
    ),
    Case(
        "os",
        "where a package is",
        "import json, numpy\nprint(numpy.__file__)",
        "cosmetic",
        {"another package": ("print(numpy", "import pandas as numpy\nprint(numpy")},
    ),
    Case(
        "uuid",
        "a random name",
        "import uuid\nprint('order', uuid.uuid5(uuid.NAMESPACE_DNS, 'a'))",
        changes={"another": ("'a'", "'b'")},
    ),
]

RICH: Final = [
    Case(
        "html",
        "a table by hand",
        "from IPython.display import HTML\nHTML('<table><tr><th>shop<th>sold<tr><td>Bonn<td>12</table>')",
        changes={
            "a count": ("12", "13"),
            "only the notation differs": ("<td>12</table>", "<td>12</td></tr></table>", "cosmetic"),
            "bold": ("<td>12", "<td><b>12</b>"),
            "a link": ("<td>Bonn", "<td><a href=x>Bonn</a>"),
        },
    ),
    Case(
        "html",
        "links",
        "from IPython.display import HTML\nHTML('<a href=\"https://example.org/1\">report</a>')",
        changes={"another address": ("/1", "/2")},
    ),
    Case(
        "html",
        "not HTML",
        "from IPython.display import HTML\nHTML('a < b & c')",
        changes={"another text": ("& c", "& d")},
    ),
    Case(
        "html",
        "random ids",
        'from IPython.display import HTML\nimport uuid\nu = uuid.uuid4()\nHTML(f\'<div id="{u}">7 rows</div><script>draw("{u}", [1, 2, 3])</script>\')',
        "cosmetic",
        {
            "rows": ("7 rows", "8 rows"),
            "data": ("[1, 2, 3]", "[1, 2, 4]"),
        },
    ),
    Case(
        "html",
        "a number in its text",
        "from IPython.display import HTML\nHTML('<p>mean <b>0.123456789</b></p>')",
        changes={
            "noise": ("0.123456789", "0.123456791", "drift"),
            "a place": ("0.123456789", "0.124456789"),
        },
    ),
    Case(
        "markdown",
        "text",
        "from IPython.display import Markdown\nMarkdown('**Total:** 12 of 20')",
        changes={"a count": ("12 of", "13 of"), "emphasis": ("**Total:**", "Total:")},
    ),
    Case(
        "latex",
        "formula",
        "from IPython.display import Latex\nLatex(r'$y = 1.2345 x + 3$')",
        changes={"a term": ("+ 3", "- 3"), "a slope": ("1.2345", "1.2445")},
    ),
    Case(
        "json",
        "data",
        "from IPython.display import JSON\nJSON({'rows': 12, 'mean': 0.123456789, 'tags': ['a', 'b']})",
        changes={
            "a count": ("12", "13"),
            "noise": ("0.123456789", "0.12345678900001", "drift"),
            "a mean": ("0.1234", "0.1235"),
            "an order": ("['a', 'b']", "['b', 'a']"),
            "a key less": ("'rows': 12, ", ""),
        },
    ),
    Case(
        "plotly",
        "figure",
        "import plotly.graph_objects as go, uuid\nfrom IPython.display import display\nf = go.Figure(go.Scatter(x=[1, 2, 3], y=[2.5, 3.5, 1.25], uid=str(uuid.uuid4())))\nd = f.to_plotly_json()\nd['layout'] = {'title': {'text': 'Sales 2024'}}\ndisplay({'application/vnd.plotly.v1+json': d}, raw=True)",
        "cosmetic",
        {
            "a point": ("1.25]", "1.5]"),
            "a title": ("2024", "2023"),
            "a point less": ("x=[1, 2, 3], y=[2.5, 3.5, 1.25]", "x=[1, 2], y=[2.5, 3.5]"),
        },
    ),
    Case(
        "vega",
        "chart",
        "from IPython.display import display\ndisplay({'application/vnd.vegalite.v5+json': {'mark': 'bar', 'data': {'values': [{'a': 'x', 'b': 28}]}, 'encoding': {'x': {'field': 'a'}}}}, raw=True)",
        changes={
            "a value": ("28", "29"),
            "a mark": ("'bar'", "'line'"),
        },
    ),
    Case(
        "ipywidgets",
        "view",
        "from IPython.display import display\nimport uuid\ndisplay({'application/vnd.jupyter.widget-view+json': {'version_major': 2, 'version_minor': 0, 'model_id': uuid.uuid4().hex}, 'text/plain': 'IntSlider(value=7)'}, raw=True)",
        "cosmetic",
        {"a value": ("value=7", "value=8")},
    ),
    Case(
        "ipython",
        "two displays",
        "from IPython.display import display\ndisplay('first', 12)\ndisplay('second')",
        changes={
            "another order": ("display('first', 12)\ndisplay('second')", "display('second', 12)\ndisplay('first')"),
            "one less": ("'first', 12", "'first'"),
        },
    ),
    Case("ipython", "a shell", "!echo total 7; printf 'a\\tb\\n'", changes={"another total": ("total 7", "total 8")}),
    Case(
        "ipython",
        "pretty print",
        "from pprint import pprint\npprint({f'key{i}': list(range(i)) for i in range(6)}, width=40)",
        changes={"another length": ("range(6)", "range(7)")},
    ),
    Case(
        "rich",
        "colours",
        "print('\\x1b[1;32mok\\x1b[0m 12 passed')",
        changes={"without colours": ("\\x1b[1;32mok\\x1b[0m", "ok", "cosmetic"), "a count": ("12", "11")},
    ),
    Case(
        "polars-like",
        "boxes",
        "print('┌─────┬──────┐\\n│ a   ┆ b    │\\n╞═════╪══════╡\\n│ 1   ┆ 2.5  │\\n└─────┴──────┘')",
        changes={"a value": ("2.5", "2.6")},
    ),
]

#: Written after the comparison was finished, to see how it judges cells that it was not developed on.
HELD_OUT: Final = [
    Case(
        "pandas",
        "resampled",
        FRAME + "df.set_index('day')['sold'].resample('2D').sum()",
        changes={
            "a count changed": ("18, 5", "18, 4"),
            "another rhythm": ("'2D'", "'3D'"),
        },
    ),
    Case(
        "pandas",
        "merged",
        FRAME + "df.merge(pd.DataFrame({'shop': ['Bonn', 'Kiel'], 'city': [1, 2]}))",
        changes={
            "an outer merge": ("[1, 2]})", "[1, 2]}), how='left'"),
            "a key changed": ("'Kiel'], ", "'Ulm'], "),
        },
    ),
    Case(
        "pandas",
        "quantiles in percent",
        FRAME + "print((df['share'] * 100).round(1).astype(str) + '%')",
        changes={
            "a tenth of a percent": ("0.07654321", "0.07754321"),
        },
    ),
    Case(
        "pandas",
        "styled percent",
        FRAME + "df[['shop', 'share']].style.format({'share': '{:.1%}'})",
        "cosmetic",
        {
            "a tenth of a percent": ("0.07654321", "0.07754321"),
            "a shop": ('"Cologne"', '"Colmar"'),
        },
    ),
    Case(
        "pandas",
        "age of the data",
        FRAME + "print('loaded', len(df), 'rows at', pd.Timestamp.now().round('s'))\nprint(df.tail(1))",
        "cosmetic",
        {
            "a date of the data": ("2024-03-01", "2024-03-08"),
            "fewer rows": ("periods=6", "periods=6, freq='h'"),
        },
    ),
    Case(
        "pandas",
        "data of this very day",
        "import pandas as pd\nprint(pd.DataFrame({'sold': [3, 4]}, index=pd.date_range(end=pd.Timestamp.now().normalize() - pd.Timedelta('1D'), periods=2)))",
        "different",
        {"another count": ("[3, 4]", "[3, 5]")},
    ),
    Case(
        "pandas",
        "complex numbers",
        "import numpy as np\nprint(np.roots([1, 2, 3]))",
        changes={"other roots": ("[1, 2, 3]", "[1, 2, 4]")},
    ),
    Case(
        "numpy",
        "printed with few places",
        NUMPY + "np.set_printoptions(precision=3)\nprint(rng.normal(size=4))\nnp.set_printoptions(precision=8)",
        changes={
            "one in the last place of one": ("rng.normal(size=4)", "rng.normal(size=4) + [0, 0, 0.001, 0]"),
            "another seed": ("(7)", "(6)"),
        },
    ),
    Case(
        "numpy",
        "random without a seed",
        "import numpy as np\nprint(np.random.default_rng().normal(size=3))",
        "different",
    ),
    Case(
        "numpy",
        "dates of numpy",
        "import numpy as np\nnp.arange('2024-02', '2024-03', dtype='datetime64[W]')",
        changes={"a month later": ("'2024-02', '2024-03'", "'2024-03', '2024-04'")},
    ),
    Case(
        "numpy",
        "structured",
        "import numpy as np\nnp.array([(1, 2.5, 'a'), (2, 3.5, 'b')], dtype='i4,f8,U1')",
        changes={"a value": ("3.5", "3.75")},
    ),
    Case(
        "numpy",
        "coordinates",
        "print('52.520008 N, 13.404954 E')",
        changes={"another street": ("52.520008", "52.521008"), "south": ("N", "S")},
    ),
    Case(
        "numpy",
        "scientific notation",
        "print('6.022e+23 8.314 1.38e-23')",
        changes={"a constant": ("1.38e-23", "1.39e-23"), "a power": ("e+23", "e+22")},
    ),
    Case(
        "numpy",
        "a p value",
        "print('p = 0.0499, n = 1,204')",
        changes={"significant": ("0.0499", "0.0501"), "n": ("1,204", "1,205")},
    ),
    Case(
        "numpy",
        "a serial number",
        "print('serial 45982.125, id 1795288182')",
        changes={"a day": ("45982.125", "45983.125"), "an id": ("8182", "8183")},
    ),
    Case(
        "matplotlib",
        "pie",
        PLOT + "ax.pie([30, 70], labels=['a', 'b'], autopct='%d%%')\nplt.show()",
        changes={"a share": ("[30, 70]", "[31, 69]"), "labels": ("['a', 'b']", "['b', 'a']")},
    ),
    Case(
        "matplotlib",
        "box plot",
        PLOT + "ax.boxplot([[1, 2, 3, 4, 9], [2, 3, 4]])\nplt.show()",
        changes={"an outlier": ("9]", "9.3]"), "a median": ("[2, 3, 4]", "[2, 3.1, 4]")},
    ),
    Case(
        "matplotlib",
        "error bars",
        PLOT + "ax.errorbar([1, 2], [3, 4], yerr=[0.2, 0.4])\nplt.show()",
        changes={"an error": ("0.2, 0.4", "0.25, 0.4")},
    ),
    Case(
        "matplotlib",
        "many thin lines",
        PLOT + NUMPY + "ax.plot(rng.normal(size=(30, 20)).cumsum(0), lw=0.4, alpha=0.3)\nplt.show()",
        changes={
            "one line": ("(30, 20)).cumsum(0)", "(30, 20)).cumsum(0) + np.eye(20)[3]"),
            "one line less": (").cumsum(0)", ").cumsum(0)[:, 1:]"),
        },
    ),
    Case(
        "matplotlib",
        "contours",
        PLOT + "x = np.linspace(-2, 2, 30)\nax.contourf(x, x, np.exp(-x**2 - x[:, None]**2), levels=50)\nplt.show()",
        changes={"another width": ("-x**2", "-1.02 * x**2")},
    ),
    Case(
        "matplotlib",
        "small print",
        PLOT + "ax.plot([1, 2])\nfig.text(0.01, 0.01, 'source: census 2021, n = 1284', fontsize=5)\nplt.show()",
        changes={"a year": ("2021", "2011"), "a count": ("1284", "1234")},
    ),
    Case(
        "matplotlib",
        "pale text",
        PLOT + "ax.text(0.2, 0.5, 'preliminary 3', color='0.95', fontsize=14)\nplt.show()",
        changes={"a digit": ("preliminary 3", "preliminary 8")},
    ),
    Case(
        "matplotlib",
        "a pale band",
        PLOT + "ax.axhspan(0.2, 0.4, color='yellow', alpha=0.03)\nplt.show()",
        changes={
            "a moved band": ("0.2, 0.4", "0.2, 0.42"),
            "a band less": ("ax.axhspan(0.2, 0.4, color='yellow', alpha=0.03)", ""),
        },
    ),
    Case(
        "matplotlib",
        "axis with today's time",
        PLOT + "import time\nax.set_title(time.strftime('%H:%M:%S'))\nplt.show()",
        "different",
    ),
    Case(
        "matplotlib",
        "svg of markers",
        SVG + "ax.plot([1, 2, 3], [1, 4, 2], 'o')\nax.annotate('peak 4', (2, 4))" + SVG_END,
        "cosmetic",
        {"an annotation": ("peak 4", "peak 5"), "a marker": ("4, 2], 'o'", "4, 2], 's'")},
    ),
    Case(
        "matplotlib",
        "svg heat map",
        SVG + "ax.imshow(np.arange(6).reshape(2, 3))" + SVG_END,
        "cosmetic",
        {"a cell": ("reshape(2, 3)", "reshape(2, 3) % 5")},
    ),
    Case(
        "scikit-learn",
        "column transformer",
        "from sklearn.compose import make_column_transformer\nfrom sklearn.preprocessing import OneHotEncoder\nmake_column_transformer((OneHotEncoder(), ['shop']), remainder='passthrough')",
        "cosmetic",
        {"another column": ("['shop']", "['city']")},
    ),
    Case(
        "scikit-learn",
        "neural net that talks",
        IRIS
        + "import warnings; warnings.simplefilter('ignore')\nfrom sklearn.neural_network import MLPClassifier\nMLPClassifier(random_state=0, max_iter=4, verbose=True).fit(X, y).score(X, y)",
        changes={"another seed": ("random_state=0", "random_state=2")},
    ),
    Case(
        "scikit-learn",
        "does not converge",
        IRIS
        + "import warnings; warnings.simplefilter('always')\nfrom sklearn.linear_model import LogisticRegression\nprint(LogisticRegression(max_iter=3).fit(X, y).n_iter_)",
        "cosmetic",
        {"more steps": ("max_iter=3", "max_iter=4")},
    ),
    Case(
        "statsmodels",
        "logit",
        NUMPY
        + "import statsmodels.api as sm\nx = rng.normal(size=(80, 2))\nprint(sm.Logit((x[:, 0] + rng.normal(size=80) > 0).astype(int), x).fit().summary())",
        "cosmetic",
        {"another threshold": ("> 0)", "> 0.2)")},
    ),
    Case(
        "time",
        "a log of steps",
        "import time\nfor i in range(3):\n    t = time.perf_counter(); time.sleep(0.005)\n    print(f'step {i}: loss {1 / (i + 1):.3f} ({time.perf_counter() - t:.3f} s elapsed)')",
        "cosmetic",
        {"another loss": ("1 / (i + 1)", "1 / (i + 3)")},
    ),
    Case(
        "time",
        "seconds with words",
        "import time\nt = time.time(); time.sleep(0.02)\nprint('Total time taken:', round(time.time() - t, 3), 'seconds for 5 files')",
        "cosmetic",
        {"files": ("5 files", "6 files")},
    ),
    Case(
        "time",
        "hours as data",
        "print('shift: 08:30:00-16:45:00, elapsed')",
        changes={"a later shift": ("16:45:00", "17:45:00")},
    ),
    Case(
        "time",
        "speed of a download",
        "import time\nt = time.time(); time.sleep(0.02)\nprint(f'Downloaded 12 MB in {time.time() - t:.2f}s')",
        "cosmetic",
        {"more": ("12 MB", "13 MB")},
    ),
    Case(
        "logging",
        "basic format",
        "import logging\nlogging.getLogger('shop').warning('stock %d', 7)",
        changes={"stock": ("7)", "6)")},
    ),
    Case(
        "logging",
        "iso in brackets",
        "from datetime import datetime\nprint(f'[{datetime.now().isoformat(timespec=\"milliseconds\")}] [INFO] 4 of 9')",
        "cosmetic",
        {"a count": ("4 of 9", "5 of 9")},
    ),
    Case(
        "tqdm",
        "in a comprehension with text",
        "from tqdm import tqdm\nimport time\nx = [time.sleep(0.01) or i for i in tqdm(range(6), desc='scan: a|b')]\nprint(sum(x))",
        "cosmetic",
        {"a sum": ("sum(x)", "sum(x) + 1")},
    ),
    Case(
        "tqdm",
        "with text between",
        "from tqdm import tqdm\nimport time\nfor i in tqdm(range(3)):\n    time.sleep(0.01); tqdm.write(f'row {i}')",
        "cosmetic",
        {"other rows": ("row {i}", "row {i + 1}")},
    ),
    Case(
        "tqdm",
        "slow",
        "from tqdm import trange\nimport time\nfor i in trange(2, desc='fit', unit='epoch'):\n    time.sleep(1.1)",
        "cosmetic",
        {"another unit's count": ("trange(2", "trange(1")},
    ),
    Case(
        "python",
        "repr of a bound method",
        "class A:\n    def f(self): pass\nprint(A().f, A.f)",
        "cosmetic",
        {"one less": ("A().f, A.f", "A().f")},
    ),
    Case(
        "python",
        "a set of numbers and names",
        "print({1.5, 'a', None, (1, 2), frozenset('x')})",
        "cosmetic",
        {"a number": ("1.5", "1.25")},
    ),
    Case(
        "python",
        "a set in lines",
        "from pprint import pprint\npprint({'alpha' * 3, 'beta' * 4, 'gamma' * 5, 'delta' * 3}, width=30)",
        changes={"an element": ("'beta' * 4", "'beta' * 3")},
    ),
    Case("python", "a list made of a set", "print(list({'pear', 'apple', 'fig', 'plum', 'kiwi'}))", "different"),
    Case(
        "python",
        "a traceback with frames",
        "import json\njson.loads('{broken')",
        "same_error",
        {"another place": ("'{broken'", "'[1, broken'")},
    ),
    Case("python", "an error of a key that is a time", "import time\nraise KeyError(time.time())", "same_error"),
    Case("python", "a weak reference", "import weakref\nclass A: pass\na = A()\nprint(weakref.ref(a))", "cosmetic"),
    Case("python", "a coroutine", "async def f(): pass\nc = f()\nprint(c)\nc.close()", "cosmetic"),
    Case(
        "python",
        "sizes",
        "import sys\nprint(sys.getsizeof([1, 2, 3]), 'bytes, id differs')",
        changes={"another size": ("[1, 2, 3]", "[1, 2, 3, 4, 5]")},
    ),
    Case("python", "an id", "print(id(object()) > 0, id('x') % 1 == 0)"),
    Case(
        "warnings",
        "a deprecation",
        "import warnings\ndef old(): warnings.warn('old() goes in 3.0', DeprecationWarning, stacklevel=2)\nwarnings.simplefilter('always')\nold()",
        "cosmetic",
        {"another version": ("3.0", "4.0")},
    ),
    Case(
        "tempfile",
        "a path in an error",
        "import tempfile\nopen(tempfile.mkdtemp() + '/none.csv')",
        "same_error",
        {"another file": ("none.csv", "nil.csv")},
    ),
    Case(
        "html",
        "a details element",
        "from IPython.display import HTML\nHTML('<details><summary>3 rows</summary><pre>a  1\\nb  2</pre></details>')",
        changes={"a row": ("b  2", "b  3"), "blanks that count": ("a  1", "a   1")},
    ),
    Case(
        "html",
        "a form",
        'from IPython.display import HTML\nHTML(\'<input type="range" value="7" max="10">\')',
        changes={"a value": ("7", "8"), "a bound": ("10", "100")},
    ),
    Case(
        "html",
        "a bar drawn by style",
        "from IPython.display import HTML\nHTML('<div style=\"width: 37.5%; background: #1f77b4\"></div>')",
        changes={"a width": ("37.5%", "38.5%"), "a colour": ("1f77b4", "ff7f0e")},
    ),
    Case(
        "html",
        "a picture by address",
        "from IPython.display import HTML\nHTML('<img src=\"plot-0b5c1a52-6f0c-4c9b-9d53-5d5b3f7d7c11.png\">')",
        changes={"another picture": ("7c11", "7c12")},
    ),
    Case(
        "markdown",
        "a table",
        "from IPython.display import Markdown\nMarkdown('| a | b |\\n|---|---|\\n| 1 | 2.50 |')",
        changes={"a value": ("2.50", "2.51")},
    ),
    Case(
        "json",
        "nested",
        "from IPython.display import JSON\nJSON([{'a': [1, 2.5, None, True]}, 'x'])",
        changes={"a truth": ("True", "False"), "null": ("None", "0"), "one for true": ("True", "1")},
    ),
    Case(
        "ipython",
        "a progress bar of IPython",
        "from IPython.display import ProgressBar, display\nb = ProgressBar(3)\nb.progress = 2\ndisplay(b)",
        changes={"further": ("progress = 2", "progress = 3")},
    ),
    Case(
        "ipython", "a cell of bash", "%%bash\nprintf '%s\\n' a b c | wc -l", changes={"one more": ("a b c", "a b c d")}
    ),
    Case(
        "rich",
        "a table in colours",
        "from rich.console import Console\nfrom rich.table import Table\nt = Table('shop', 'sold'); t.add_row('Bonn', '12')\nConsole(force_jupyter=False, force_terminal=True, width=40).print(t)",
        changes={"a count": ("'12'", "'13'")},
    ),
]

ALTAIR = "import altair as alt, pandas as pd\nframe = pd.DataFrame({'day': ['mo', 'tu'], 'sold': [5, 8]})\n"
FOLIUM = "import folium\nmap = folium.Map(location=[47.4, 8.5], zoom_start=9)\n"
ANIMATION = (
    "%matplotlib agg\nimport matplotlib.pyplot as plt\nfrom matplotlib.animation import FuncAnimation\n"
    "from IPython.display import HTML\nfigure, axes = plt.subplots(figsize=(1, 1), dpi=40)\naxes.axis('off')\n"
    "line, = axes.plot([0, 1], [0, 1])\n"
    "page = FuncAnimation(figure, lambda n: line.set_data([0, n], [0, 1]) or (line,), frames=2).to_jshtml()\n"
    "plt.close()\n%matplotlib inline\nHTML(page)"
)
PDF = PLOT + "%config InlineBackend.figure_formats = ['pdf']\n"
PDF_END = "\nplt.show()\n%config InlineBackend.figure_formats = ['png']\n"

#: Charts and reprs whose random ids have no dashes, or are in scripts, each with real changes next to the ids.
RANDOM_IDS: Final = [
    Case(
        "altair",
        "chart",
        ALTAIR + "alt.Chart(frame, title='Sold in 2024').mark_bar().encode(x='day', y='sold')",
        "cosmetic",
        {
            "a value": ("5, 8", "5, 9"),
            "a title": ("2024", "2023"),
            "a mark": ("mark_bar", "mark_line"),
            "a field": ("y='sold'", "y='day'"),
        },
    ),
    Case(
        "folium",
        "map",
        FOLIUM + "folium.Marker([47.4, 8.5], popup='depot 7').add_to(map)\nmap",
        "cosmetic",
        {
            "a place": ("Map(location=[47.4", "Map(location=[47.5"),
            "a marker moved": ("Marker([47.4", "Marker([47.6"),
            "a popup": ("depot 7", "depot 8"),
            "the zoom": ("zoom_start=9", "zoom_start=8"),
            "no marker": ("folium.Marker([47.4, 8.5], popup='depot 7').add_to(map)\n", ""),
        },
    ),
    Case(
        "bokeh",
        "loading",
        "from bokeh.io import output_notebook\noutput_notebook()",
        "cosmetic",
        {"no banner": ("output_notebook()", "output_notebook(hide_banner=True)")},
    ),
    Case(
        "matplotlib",
        "animation",
        ANIMATION,
        "cosmetic",
        {
            "another line": ("[0, n], [0, 1])", "[0, n], [0, .5])"),
            "a frame more": ("frames=2", "frames=3"),
            "faster": ("frames=2", "frames=2, interval=50"),
        },
    ),
    Case(
        "matplotlib",
        "plot as PDF",
        PDF + "ax.plot([1, 2, 4])\nax.set_title('Sold in 2024')" + PDF_END,
        "cosmetic",
        {"a point": ("2, 4", "2, 5"), "a title": ("2024", "2023"), "a color": ("4])", "4], color='red')")},
    ),
    Case(
        "ipython",
        "display handle",
        "from IPython.display import display\nhandle = display('a value', display_id=True)\nhandle",
        "cosmetic",
        {"a value": ("a value", "a number")},
    ),
    Case(
        "ipython",
        "display handle with a name",
        "from IPython.display import display\ndisplay('a value', display_id='total')",
        changes={"another name": ("'total'", "'sum'")},
    ),
    Case(
        "ipython",
        "execution info",
        "get_ipython().run_cell('1').info",
        "cosmetic",
        {"another source": ("'1'", "'2'"), "a name": (".info", ".info.__class__")},
    ),
    Case(
        "ipython",
        "timeit after words",
        "for size in (1, 2):\n    print('size:', size, end=' ')\n    %timeit -n 5 -r 2 list(range(size))",
        "cosmetic",
        {"a size": ("(1, 2)", "(1, 3)"), "more runs": ("-r 2", "-r 3"), "a word": ("size:", "rows:")},
    ),
    Case(
        "ipython",
        "time after words",
        "print('rows:', 7, end=' ')\n%time sum(range(1000))",
        "cosmetic",
        {"a count": ("7", "8"), "a sum": ("1000", "1001")},
    ),
    Case(
        "plotly",
        "figure widget as text",
        "import uuid\nprint(\"'data': [{'type': 'scatter', 'uid': '%s', 'x': [1, 2]}]\" % uuid.uuid4())",
        "cosmetic",
        {"a point": ("[1, 2]", "[1, 3]")},
    ),
]

CASES: Final = [*PANDAS, *NUMERIC, *PLOTS, *LEARNING, *TIMES, *BARS, *REPRS, *RICH, *HELD_OUT, *RANDOM_IDS]
