"""Models leave the house: files that QuPath, Fiji, deepImageJ, the BioImage Model Zoo and any ONNX program open."""
