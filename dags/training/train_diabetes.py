"""Train a Ridge model on scikit-learn's diabetes data; knows nothing of where it runs."""

import argparse
import json
from pathlib import Path

import joblib
from sklearn.datasets import load_diabetes
from sklearn.linear_model import Ridge
from sklearn.metrics import mean_absolute_error, root_mean_squared_error
from sklearn.model_selection import train_test_split

import mltrain


def main() -> None:
    """Fit on one part of the data, measure on the rest, write the model to outputs/."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--alpha", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=0, help="which rows are held out")
    arguments = parser.parse_args()

    features, progression = load_diabetes(return_X_y=True)
    train_x, test_x, train_y, test_y = train_test_split(
        features, progression, test_size=0.25, random_state=arguments.seed
    )
    model = Ridge(alpha=arguments.alpha).fit(train_x, train_y)
    predicted = model.predict(test_x)
    metrics = {
        "rmse": root_mean_squared_error(test_y, predicted),
        "mae": mean_absolute_error(test_y, predicted),
        "r2": model.score(test_x, test_y),
    }

    run = mltrain.Run.get_context()
    for name, value in metrics.items():
        run.log(name, value)
        print(f"{name} = {value:.3f}")

    outputs = Path("outputs")
    outputs.mkdir(exist_ok=True)
    joblib.dump(model, outputs / "model.joblib")
    (outputs / "metrics.json").write_text(json.dumps(metrics, indent=2))
    print(f"model with alpha={arguments.alpha} on {len(train_x)} rows in {outputs}")


if __name__ == "__main__":
    main()
