"""Makes `errors.json`: runs each code of `ERRORS` in a kernel and writes its error output, as ipykernel sent it.

    python tests/notebook/tracebacks/make_corpus.py

This script needs nbclient, ipykernel, pandas, numpy, matplotlib, scikit-learn, scipy, pydantic, sqlalchemy, requests,
httpx, polars, pillow and networkx. The tests read the result and need none of them. Paths of the installation are
replaced by `PREFIX`. The answers in `answers.json` are read and corrected by hand.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Any, Final

from nbclient import NotebookClient
from nbformat.v4 import new_code_cell, new_notebook

HERE: Final = Path(__file__).parent
PREFIX: Final = f"/opt/python/lib/python3.{sys.version_info.minor}"

SALES: Final = 'import pandas as pd\nsales = pd.DataFrame({"city": ["Ulm", "Köln"], "sold": [3, 5]})\n'
NUMPY: Final = "import numpy as np\n"
PLOT: Final = "import matplotlib.pyplot as plt\n"
#: A low limit keeps the recorded traceback short.
SHALLOW: Final = "import sys\nsys.setrecursionlimit(150)\n"
RESET: Final = "import sys\nsys.setrecursionlimit(3000)"

#: The six everyday errors whose mean length is tested come first.
ERRORS: Final = {
    "pandas: missing column": f'{SALES}def total(frame):\n    return frame["price"].sum()\n\ntotal(sales)',
    "pandas: merge on a missing key": (
        f'{SALES}other = pd.DataFrame({{"town": ["Ulm"]}})\nsales.merge(other, on="city")'
    ),
    "numpy: shapes that do not broadcast": f"{NUMPY}a = np.ones((3, 4))\nb = np.ones((2, 4))\na + b",
    "numpy: singular matrix": f"{NUMPY}m = np.array([[1.0, 2.0], [2.0, 4.0]])\nnp.linalg.inv(m)",
    "matplotlib: lengths differ": f"{PLOT}plt.plot([1, 2, 3], [1, 2])",
    "matplotlib: unknown color map": f'{PLOT}plt.imshow([[1, 2], [3, 4]], cmap="virdis")',
    "pandas: missing file": 'import pandas as pd\npd.read_csv("sales_2024.csv")',
    "pandas: dates that do not parse": 'import pandas as pd\npd.to_datetime(["2024-01-01", "31/31/2024"])',
    "pandas: length of a new column": f'{SALES}sales["price"] = [1, 2, 3]',
    "pandas: text as a number": f'{SALES}sales["city"].astype(int)',
    "pandas: truth value of a series": f'{SALES}if sales["sold"] > 3:\n    print("many")',
    "pandas: unknown method": f"{SALES}sales.groupy('city')",
    "pandas: missing columns": f'{SALES}sales[["city", "price", "year"]]',
    "pandas: duplicate index": f"{SALES}sales.index = [1, 1]\nsales.reindex([1, 2])",
    "pandas: malformed csv": 'import io, pandas as pd\npd.read_csv(io.StringIO("a,b\\n1,2\\n1,2,3\\n"))',
    "numpy: index out of bounds": f"{NUMPY}np.arange(3)[5]",
    "numpy: reshape": f"{NUMPY}np.arange(7).reshape(2, 3)",
    "numpy: ragged array": f"{NUMPY}np.array([[1, 2], [3]], dtype=float)",
    "matplotlib: unknown keyword": f"{PLOT}plt.plot([1, 2], colour='red')",
    "scikit-learn: not fitted": (
        "from sklearn.linear_model import LinearRegression\nLinearRegression().predict([[1.0]])"
    ),
    "scikit-learn: missing values": (
        "from sklearn.linear_model import LinearRegression\nLinearRegression().fit([[1.0], [float('nan')]], [1.0, 2.0])"
    ),
    "scikit-learn: text in features": (
        "from sklearn.preprocessing import StandardScaler\nStandardScaler().fit_transform([['a', 1], ['b', 2]])"
    ),
    "scipy: fit that does not converge": (
        "import numpy as np\nfrom scipy.optimize import curve_fit\n"
        "def model(x, a, b):\n    return a * np.exp(b * x)\n\n"
        "curve_fit(model, [0, 1, 2], [1, 3, 9], maxfev=1)"
    ),
    "pydantic: validation": (
        "from pydantic import BaseModel\n\nclass Order(BaseModel):\n    number: int\n    price: float\n\n"
        "Order(number='ten', price=None)"
    ),
    "sqlalchemy: missing table": (
        "import sqlalchemy as sa\nengine = sa.create_engine('sqlite://')\n"
        "with engine.connect() as connection:\n    connection.execute(sa.text('select name from users where id = 3'))"
    ),
    "requests: connection refused": "import requests\nrequests.get('http://127.0.0.1:9/data.json', timeout=2)",
    "requests: json": (
        "import requests\nresponse = requests.Response()\nresponse._content = b'<html>Not found</html>'\n"
        "response.status_code = 200\nresponse.json()"
    ),
    "httpx: connection refused": "import httpx\nhttpx.get('http://127.0.0.1:9/data.json', timeout=2)",
    "polars: missing column": "import polars as pl\npl.DataFrame({'city': ['Ulm']}).select(pl.col('town'))",
    "pillow: not an image": "import io\nfrom PIL import Image\nImage.open(io.BytesIO(b'not an image'))",
    "networkx: no path": "import networkx as nx\ng = nx.Graph()\ng.add_nodes_from([1, 2])\nnx.shortest_path(g, 1, 2)",
    "json: invalid": "import json\ntext = '{\"a\": 1,}'\ndata = json.loads(text)",
    "python: missing module": "import torchvision_extras",
    "python: undefined name": "values = [1, 2]\nprint(sum(valeus))",
    "python: wrong types": "def label(n):\n    return 'n=' + n\n\n[label(n) for n in (1, 2)]",
    "python: unclosed bracket": "values = [1, 2\nprint(values)",
    "python: indentation": "if True:\nprint('x')",
    "python: recursion": f"{SHALLOW}def depth(n):\n    return depth(n + 1)\n\ndepth(0)",
    "python: mutual recursion": (
        f"{SHALLOW}def even(n):\n    return odd(n + 1)\n\ndef odd(n):\n    return even(n + 1)\n\neven(0)"
    ),
    "python: cause": (
        "def load(path):\n    try:\n        return open(path)\n    except OSError as exc:\n"
        "        raise RuntimeError(f'cannot load {path}') from exc\n\nload('settings.toml')"
    ),
    "python: error in a handler": "try:\n    {}['a']\nexcept KeyError:\n    [][1]",
    "python: note": (
        "try:\n    int('3.5')\nexcept ValueError as exc:\n    exc.add_note('Row 7 of orders.csv')\n    raise"
    ),
    "python: file that the agent wrote": (
        "from pathlib import Path\nPath('cleaning.py').write_text("
        "'def clean(row):\\n    return row[\"name\"].strip()\\n')\nimport cleaning\ncleaning.clean({})"
    ),
    "python: syntax error in a module": (
        "from pathlib import Path\nPath('broken.py').write_text('x = (1,\\ny = 2\\n')\nimport broken"
    ),
    "python: assertion": "rows = []\nassert rows, 'no rows were loaded'",
    "python: worker": (
        "from concurrent.futures import ThreadPoolExecutor\ndef parse(text):\n    return float(text)\n\n"
        "with ThreadPoolExecutor() as pool:\n    print(list(pool.map(parse, ['1', 'x'])))"
    ),
    "python: worker process": (
        "from concurrent.futures import ProcessPoolExecutor\nimport multiprocessing as mp\n"
        "def parse(text):\n    return float(text)\n\n"
        "with ProcessPoolExecutor(mp_context=mp.get_context('fork')) as pool:\n"
        "    print(list(pool.map(parse, ['1', 'x'])))"
    ),
    "python: exception group": (
        "def check(n):\n    raise ExceptionGroup('checks failed', [ValueError('bad price'), TypeError('bad city')])\n\n"
        "check(1)"
    ),
    "python: task group": (
        "import asyncio\n\nasync def fetch(n):\n    raise ConnectionError(f'host {n} is down')\n\n"
        "async def main():\n    async with asyncio.TaskGroup() as tasks:\n"
        "        tasks.create_task(fetch(1))\n        tasks.create_task(fetch(2))\n\nawait main()"
    ),
    "ipython: %%time": "%%time\ntotal = 0\ntotal += 1 / 0",
    "ipython: %run": (
        "from pathlib import Path\nPath('job.py').write_text('def go():\\n    1 / 0\\ngo()\\n')\n%run job.py"
    ),
    "ipython: %%bash": "%%bash\nset -e\nls /missing/directory\necho never",
    "ipython: long line": "data = {'a': 1}\nvalues = [" + ", ".join(f"'value {n}'" for n in range(60)) + ", data['b']]",
}


async def record() -> list[list[dict[str, Any]]]:
    """Run the codes in one kernel; return the outputs of each."""
    notebook = new_notebook(cells=[new_code_cell(code) for code in ERRORS.values()])
    with tempfile.TemporaryDirectory() as directory:
        client = NotebookClient(notebook, timeout=60, kernel_name="python3", allow_errors=True)
        async with client.async_setup_kernel(cwd=directory):
            for index, cell in enumerate(notebook.cells):
                assert client.kc is not None
                client.kc.execute(RESET, silent=True)
                await client.async_execute_cell(cell, index)
        text = json.dumps([cell["outputs"] for cell in notebook.cells], ensure_ascii=False)
        for path, name in (
            (sysconfig.get_path("purelib"), f"{PREFIX}/site-packages"),
            (sysconfig.get_path("stdlib"), PREFIX),
            (directory, "/home/ann/work"),
        ):
            text = text.replace(path, name)
    text = re.sub(r"/tmp/ipykernel_\d+/\d+\.py", "/tmp/ipykernel_7/3.py", text)
    return list(json.loads(text))


def main() -> None:
    ran = asyncio.run(record())
    cases = [
        {"name": name, "code": code, "outputs": [output for output in outputs if _tells(output)]}
        for (name, code), outputs in zip(ERRORS.items(), ran, strict=True)
    ]
    for case in cases:
        print(case["name"], len(json.dumps(case)), file=sys.stderr)  # noqa: T201  (a script)
    (HERE / "errors.json").write_text(json.dumps(cases, ensure_ascii=False, indent=1) + "\n", "utf-8")


def _tells(output: dict[str, Any]) -> bool:
    return output["output_type"] == "error" or output.get("name") == "stderr"


if __name__ == "__main__":
    main()
