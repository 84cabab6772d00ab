"""The ways in which protocols turn an image into a tensor, those that several of them share."""

from dataclasses import replace

from benchmarks.protocols import ImageTransform

RANDOM_RESIZED_CROP = ImageTransform(crop=224, random_resized_crop=True, flip=True)
JITTERED_CROP = replace(RANDOM_RESIZED_CROP, jitter=(0.4, 0.4, 0.4, 0.0), lighting=0.1)
CENTRE_CROP = ImageTransform(crop=224, resize=256)
RANDOM_CROP = ImageTransform(crop=224, resize=256, random_crop=256, flip=True)
SQUASHED = ImageTransform(crop=224, resize=256, squash=True)
# Of the embedded digits.
DIGIT = ImageTransform(crop=32, resize=40)
SHIFTED_DIGIT = ImageTransform(crop=32, resize=40, random_crop=40)
SCENE = ImageTransform(crop=64, resize=64, squash=True)
