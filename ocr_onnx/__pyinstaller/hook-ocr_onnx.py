"""The data files of ocr_onnx: the zoo, the embedded models, the service's page."""

from PyInstaller.utils.hooks import collect_data_files

datas = collect_data_files("ocr_onnx")
